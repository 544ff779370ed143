"""Open images with Pillow, without any metadata that it fails to read: only what makes the pixels is needed."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from PIL import Image
from pillow_heif import register_heif_opener

from .markers import ordinary_jpeg

Value = TypeVar("Value")

register_heif_opener()
Image.init()
# Pillow's warnings are mostly about damaged metadata. Ignored for good: the context manager is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
"""Pillow's names of the accepted formats, which are recognised by content. Its JPEG reader also reads phones' MPO."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PNG_CHUNKS = 20_000
"""Chunks that are looked at. Encoders write the pixels in pieces of 8 kB or more."""
_OPTIONAL = 0x20
"""The bit that makes a chunk's first letter lower-case: decoders may ignore such a chunk."""


def opened(data: bytes, use: Callable[[Image.Image], Value]) -> Value:
    """Open an image and return what a function makes of it.

    Pillow refuses a PNG for a text of more than a megabyte, or a wrong checksum of its resolution, and a JPEG for a cut
    header of its thumbnail. Where the image cannot be opened or used, it is tried again without its metadata, and must
    have the size that it had before.

    Args:
        data: The bytes of the file.
        use: Called with the image, perhaps more than once.

    Raises:
        Exception: What Pillow, or the function, raised first.
    """
    first: Exception | None = None
    size: tuple[int, int] | None = None
    try:
        for file in _plainer(data):
            try:
                image = Image.open(io.BytesIO(file), formats=FORMATS)
                size = size or image.size
                # Otherwise this is not the image that the header's check let pass.
                if image.size == size:
                    return use(image)
            except (MemoryError, Image.DecompressionBombError):
                raise
            except Exception as error:  # on damaged files Pillow's parsers raise nearly any type
                first = first or error
        assert first is not None
        raise first
    finally:
        # Its traceback and this variable would keep each other, and the image, in memory.
        del first


def png_exif(data: bytes) -> bytes:
    """Return the EXIF data of a PNG; empty if there is none, or too many chunks stand before it."""
    return next((bytes(chunk[8:-4]) for chunk in _png_chunks(data) if chunk[4:8] == b"eXIf"), b"")


def _plainer(data: bytes) -> Iterator[bytes]:
    """Yield a file, then without its metadata but with its colour profile, then without both; none of them twice."""
    yield data
    if data.startswith(_PNG_SIGNATURE):
        chunks = list(_png_chunks(data))
        for kept in ((b"tRNS", b"eXIf", b"iCCP"), (b"tRNS", b"eXIf")):
            needed = [
                chunk for chunk in chunks if not chunk[4] & _OPTIONAL or (chunk[4:8] in kept and _is_whole(chunk))
            ]
            if len(needed) < len(chunks):
                yield b"".join([_PNG_SIGNATURE, *needed])
    elif (jpeg := ordinary_jpeg(data)) and jpeg != data:
        yield jpeg


def _png_chunks(data: bytes) -> Iterator[memoryview]:
    """Yield the chunks of a PNG: of each the length, the name, the content and the checksum."""
    view = memoryview(data)
    at = len(_PNG_SIGNATURE)
    for _ in range(_MAX_PNG_CHUNKS):
        chunk = view[at : at + 12 + int.from_bytes(view[at : at + 4], "big")]
        if len(chunk) < 12:
            return
        yield chunk
        at += len(chunk)


def _is_whole(chunk: memoryview) -> bool:
    return struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]
