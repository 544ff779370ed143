"""The image files of the fault tests: what people drop, and what attackers would."""

from __future__ import annotations

import functools
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from PIL import Image, features

from tests.helpers.photos import encoded, open_photo

Expected = Literal["answer", "some answer", "refusal"]
"""The photo's own class among the five likeliest; five classes, whichever they are; or one sentence."""


@dataclass(frozen=True)
class Case:
    """One file, and what has to come of it. ``make`` returns its bytes."""

    name: str
    make: Callable[[], bytes]
    expected: Expected


def cases() -> list[Case]:
    """Return all cases; the files themselves are made from one real photo when they are asked for."""
    return [*_formats(), *_orientations(), *_damaged(), *_odd_sizes(), *_not_images()]


@functools.cache
def _photo() -> Image.Image:
    photo = open_photo("lion.jpg")
    return photo.resize((384, round(384 * photo.height / photo.width)))


def _grey() -> Image.Image:
    return _photo().convert("L")


def _sixteen_bit() -> Image.Image:
    return Image.fromarray(np.asarray(_grey()).astype(np.uint16) * 257)


def _with_alpha() -> Image.Image:
    image = _photo().copy()
    image.putalpha(255)
    return image


def _formats() -> Iterator[Case]:
    def case(
        name: str, kind: str, image: Callable[[], Image.Image] = _photo, expected: Expected = "answer", **options: Any
    ) -> Case:
        return Case(name, lambda: encoded(image(), kind, **options), expected)

    def animated(name: str, kind: str, **options: Any) -> Case:
        def make() -> bytes:
            return encoded(_photo(), kind, save_all=True, append_images=[_photo().rotate(90)], **options)

        return Case(name, make, "answer")

    for quality in (30, 75, 95):
        yield case(f"JPEG quality {quality}", "JPEG", quality=quality)
    yield case("JPEG progressive", "JPEG", progressive=True)
    yield case("JPEG 4:4:4", "JPEG", subsampling=0)
    yield case("JPEG grey", "JPEG", _grey)
    yield case("JPEG CMYK", "JPEG", lambda: _photo().convert("CMYK"))
    yield case("JPEG YCCK", "JPEG", lambda: _photo().convert("YCbCr").convert("CMYK"))
    yield case("MPO", "MPO")
    yield case("PNG", "PNG")
    yield case("PNG alpha", "PNG", _with_alpha)
    yield case("PNG palette", "PNG", lambda: _photo().quantize())
    yield case("PNG grey", "PNG", _grey)
    yield case("PNG grey and alpha", "PNG", lambda: _with_alpha().convert("LA"))
    yield case("PNG two colours", "PNG", lambda: _photo().convert("1"))
    yield case("PNG 16-bit", "PNG", _sixteen_bit)
    yield animated("PNG animated", "PNG")
    yield case("GIF", "GIF")
    yield animated("GIF animated", "GIF", duration=50)
    yield case("WebP", "WEBP")
    yield case("WebP lossless", "WEBP", lossless=True)
    yield case("WebP alpha", "WEBP", _with_alpha)
    yield animated("WebP animated", "WEBP")
    yield case("BMP", "BMP")
    yield case("TIFF", "TIFF")
    yield case("TIFF LZW", "TIFF", compression="tiff_lzw")
    yield case("TIFF CMYK", "TIFF", lambda: _photo().convert("CMYK"))
    yield case("TIFF 16-bit", "TIFF", _sixteen_bit)
    yield case("TIFF float", "TIFF", lambda: _grey().convert("F"))
    yield case("TIFF two colours", "TIFF", lambda: _photo().convert("1"))
    if features.check("avif"):
        yield case("AVIF", "AVIF")
    for kind in ("PPM", "TGA", "SGI", "PCX", "DDS", "PDF", "EPS"):
        yield case(kind, kind, expected="refusal")
    if features.check("jpg_2000"):
        yield case("JPEG2000", "JPEG2000", expected="refusal")
    for kind in ("ICO", "ICNS"):
        yield case(kind, kind, lambda: _photo().resize((256, 256)), "refusal")
    yield Case("HEIC header alone", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, "refusal")


def _orientations() -> Iterator[Case]:
    def make(orientation: int, operation: int | None) -> bytes:
        image = _photo() if operation is None else _photo().transpose(Image.Transpose(operation))
        exif = Image.Exif()
        exif[0x0112] = orientation
        return encoded(image, "JPEG", exif=exif)

    stored = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    for orientation, operation in stored.items():
        yield Case(f"EXIF orientation {orientation}", partial(make, orientation, operation), "answer")


def _damaged() -> Iterator[Case]:
    @functools.cache
    def jpeg() -> bytes:
        return encoded(_photo(), "JPEG", quality=90)

    @functools.cache
    def png() -> bytes:
        return encoded(_photo(), "PNG")

    def truncated(whole: Callable[[], bytes], share: int) -> bytes:
        return whole()[: len(whole()) * share // 100]

    def flipped(whole: Callable[[], bytes], bits: int) -> bytes:
        randomness = random.Random(bits - 1)
        data = bytearray(whole())
        for _ in range(bits):
            data[randomness.randrange(len(data))] ^= 1 << randomness.randrange(8)
        return bytes(data)

    for share in range(5, 100, 10):
        yield Case(f"JPEG cut at {share} %", partial(truncated, jpeg, share), "refusal")
    for share in (2, 30, 60, 90, 99):
        yield Case(f"PNG cut at {share} %", partial(truncated, png, share), "refusal")
    # A PNG has checksums. A JPEG has none: one bit may spoil all that follows it, and still there is an answer.
    for bits in (1, 3, 5, 7, 9):
        yield Case(f"PNG with {bits} flipped bits", partial(flipped, png, bits), "refusal")
    for bits in (2, 4, 6):
        yield Case(f"JPEG with {bits} flipped bits", partial(flipped, jpeg, bits), "answer")
    for bits in (8, 10):
        yield Case(f"JPEG with {bits} flipped bits", partial(flipped, jpeg, bits), "some answer")
    yield Case("JPEG, then rubbish", lambda: jpeg() + random.Random(1).randbytes(5000), "answer")
    yield Case("JPEG twice", lambda: jpeg() + jpeg(), "answer")


def _odd_sizes() -> Iterator[Case]:
    def resized(width: int, height: int) -> bytes:
        return encoded(_photo().resize((width, height)), "PNG")

    for size in ((1, 1), (3000, 1), (1, 3000), (16, 4000)):
        yield Case(f"{size[0]} x {size[1]}", partial(resized, *size), "some answer")
    yield Case("227 x 227", partial(resized, 227, 227), "answer")
    yield Case("144 megapixels in a small PNG", lambda: _solid_png(12_000, 12_000), "refusal")
    yield Case(
        "65500 x 65500 in a JPEG's header", lambda: _with_jpeg_size(encoded(_photo(), "JPEG"), 65_500), "refusal"
    )
    yield Case("2 gigapixels in a BMP's header", lambda: _bmp_header(50_000, 40_000), "refusal")
    yield Case("PNG whose text unpacks to 100 MB", lambda: _png_with_text(100_000_000), "some answer")


def _not_images() -> Iterator[Case]:
    contents = {
        "empty": b"",
        "HTML": b"<!doctype html><html><script>alert(1)</script></html>",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
        "text": b"keine Bilddatei\n" * 50,
        "zeros": b"\0" * 100_000,
        "random bytes": random.Random(2).randbytes(100_000),
        "JPEG's first bytes alone": b"\xff\xd8\xff\xe0",
    }
    for name, data in contents.items():
        yield Case(name, partial(bytes, data), "refusal")

    def bomb() -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("photo.jpg", b"\0" * 50_000_000)
        return file.getvalue()

    yield Case("zip bomb", bomb, "refusal")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _solid_png(width: int, height: int) -> bytes:
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + width)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _png_with_text(size: int) -> bytes:
    text = _chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"a" * size, 9))
    header = struct.pack(">IIBBBBB", 300, 300, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 301 * 300)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + text + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _with_jpeg_size(jpeg: bytes, edge: int) -> bytes:
    at = next(jpeg.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in jpeg)
    return jpeg[: at + 5] + struct.pack(">HH", edge, edge) + jpeg[at + 9 :]


def _bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0)
