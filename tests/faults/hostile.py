"""Small files that cost much: each is made here, from a few lines."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.helpers.photos import encoded

Entry = tuple[int, int, int]
"""Type, number of values, and the value or its place."""


def hostile_files() -> dict[str, Callable[[], bytes]]:
    """What makes each file, by its name."""
    return {
        "JPEG of 3,000 scans": lambda: scans(8000, 3000),
        "JPEG of empty segments": lambda: _jpeg_with(b"\xff\xfe\0\x02" * 1_000_000),
        "JPEG whose EXIF tags share bytes": lambda: _jpeg_with(_segment(b"Exif\0\0" + _shared(65_000, 5000))),
        "JPEG of bytes that look like markers": lambda: _jpeg()[:-2] + b"\xff\xff" * 12_000_000,
        "JPEG of padding": lambda: _jpeg()[:2] + b"\xff" * 20_000_000,
        "JPEG of 60,000 empty scans": lambda: _jpeg_with(_SCAN * 60_000),
        "JPEG of 60,000 empty scans, after its frame": lambda: scans(64, 60_000),
        "JPEG of 64 megapixels, progressive": lambda: encoded(Image.new("RGB", (8000, 8000)), "JPEG", progressive=True),
        "GIF of empty comments": _gif_of_comments,
        "TIFF whose tags share bytes": lambda: _shared(2_000_000, 1800, _TIFF_8_X_8),
        "TIFF of 300,000 strips": lambda: _tiff_of_strips(300_000),
        "TIFF of 64 megapixels": lambda: encoded(Image.new("RGB", (8000, 8000)), "TIFF", compression="tiff_lzw"),
        "PNG of a million empty chunks": lambda: png(64, 64, 3, _chunk(b"teXt", b"") * 1_000_000),
        "PNG of 177 megapixels": lambda: png(13_300, 13_300),
        "PNG of 64 megapixels": lambda: png(8000, 8000),
        "PNG of 64 megapixels, transparent": lambda: png(8000, 8000, 4),
        "PNG whose EXIF tags share bytes": lambda: png(64, 64, 3, _chunk(b"eXIf", _shared(1_000_000, 5000))),
        "PNG whose EXIF tags share bytes, after the pixels": lambda: _png_with_late_exif(),
        "WebP of 64 megapixels": lambda: encoded(Image.new("RGB", (8000, 8000)), "WEBP", lossless=True, method=0),
        "WebP whose EXIF tags share bytes": lambda: encoded(
            Image.new("RGB", (64, 64)), "WEBP", exif=_shared(1_000_000, 5000)
        ),
    }


_SCAN = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
"""The header of a scan, without any data."""


def scans(edge: int, count: int) -> bytes:
    """A grey progressive JPEG whose last scan stands there so often."""
    whole = encoded(Image.new("L", (edge, edge)), "JPEG", progressive=True)
    last = [found.start() for found in re.finditer(b"\xff\xda", whole)][-1]
    return whole[:-2] + whole[last:-2] * count + whole[-2:]


def png(width: int, height: int, channels: int = 3, extra: bytes = b"") -> bytes:
    """A black PNG."""
    packer = zlib.compressobj(1)
    row = b"\0" * (1 + channels * width)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    return start + extra + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _png_with_late_exif() -> bytes:
    whole, end = png(64, 64), _chunk(b"IEND", b"")
    return whole[: -len(end)] + _chunk(b"eXIf", _shared(1_000_000, 5000)) + end


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _jpeg() -> bytes:
    return encoded(Image.new("RGB", (300, 300)), "JPEG")


def _jpeg_with(segments: bytes) -> bytes:
    whole = _jpeg()
    return whole[:2] + segments + whole[2:]


def _segment(content: bytes) -> bytes:
    return struct.pack(">HH", 0xFFE1, len(content) + 2) + content


def _gif_of_comments() -> bytes:
    whole = encoded(Image.new("P", (64, 64)), "GIF")
    at = 13 + (3 << ((whole[10] & 7) + 1) if whole[10] & 0x80 else 0)
    return whole[:at] + b"!\xfe\x01a\0" * 400_000 + whole[at:]


_TIFF_8_X_8: dict[int, Entry] = {
    # Width, height, bits, compression, kind of colours, place, channels, rows in a strip, bytes.
    **{256: (4, 1, 8), 257: (4, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8)},
    **{277: (3, 1, 1), 278: (4, 1, 8), 279: (4, 1, 64)},
}


def _shared(size: int, tags: int, more: dict[int, Entry] | None = None) -> bytes:
    """TIFF or EXIF data with so many tags, each of which has all the bytes as its value."""
    directory = 8
    length = 2 + 12 * (tags + len(more or {})) + 4
    entries = {**(more or {}), **{40_000 + i: (7, size - directory - length, directory + length) for i in range(tags)}}
    return (b"II*\0" + struct.pack("<I", directory) + _directory(entries)).ljust(size, b"\0")


def _tiff_of_strips(count: int) -> bytes:
    places, lengths = 8, 8 + 4 * count
    entries = {**_TIFF_8_X_8, 257: (4, 1, count), 273: (4, count, places), 278: (4, 1, 1), 279: (4, count, lengths)}
    data = struct.pack("<I", 0) * count + struct.pack("<I", 8) * count
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + _directory(entries)


def _directory(entries: dict[int, Entry]) -> bytes:
    packed = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", 0)
