"""The image files of the fault tests: what people drop, and what attackers would."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from PIL import Image, features

from tests.helpers.photos import encoded, photo_path

Expected = Literal["answer", "refusal", "either"]


@dataclass(frozen=True)
class Case:
    """One file, and what has to come of it; ``answer`` means the whole photo's own class."""

    name: str
    data: bytes
    expected: Expected


def cases() -> list[Case]:
    """All files, made anew from one real photo."""
    photo = Image.open(photo_path("lion.jpg")).convert("RGB")
    photo = photo.resize((384, round(384 * photo.height / photo.width)))
    return [*_formats(photo), *_orientations(photo), *_damaged(photo), *_odd_sizes(photo), *_not_images()]


def _formats(photo: Image.Image) -> Iterator[Case]:
    def case(name: str, image: Image.Image, kind: str, expected: Expected = "answer", **options: object) -> Case:
        return Case(name, encoded(image, kind, **options), expected)

    alpha = photo.copy()
    alpha.putalpha(255)
    grey = photo.convert("L")
    deep = Image.frombytes("I;16", photo.size, b"".join(struct.pack("<H", v * 257) for v in grey.tobytes()))
    for quality in (30, 75, 95):
        yield case(f"JPEG quality {quality}", photo, "JPEG", quality=quality)
    yield case("JPEG progressive", photo, "JPEG", progressive=True)
    yield case("JPEG 4:4:4", photo, "JPEG", subsampling=0)
    yield case("JPEG grey", grey, "JPEG", "either")
    yield case("JPEG CMYK", photo.convert("CMYK"), "JPEG")
    yield case("JPEG YCCK", photo.convert("YCbCr").convert("CMYK"), "JPEG", "either")
    yield case("MPO", photo, "MPO")
    yield case("PNG", photo, "PNG")
    yield case("PNG alpha", alpha, "PNG")
    yield case("PNG palette", photo.quantize(), "PNG")
    yield case("PNG grey", grey, "PNG", "either")
    yield case("PNG grey and alpha", alpha.convert("LA"), "PNG", "either")
    yield case("PNG two colours", photo.convert("1"), "PNG", "either")
    yield case("PNG 16-bit", deep, "PNG", "either")
    yield case("PNG animated", photo, "PNG", save_all=True, append_images=[photo.rotate(90)])
    yield case("GIF", photo, "GIF")
    yield case("GIF animated", photo, "GIF", save_all=True, append_images=[photo.rotate(90)], duration=50)
    yield case("WebP", photo, "WEBP")
    yield case("WebP lossless", photo, "WEBP", lossless=True)
    yield case("WebP alpha", alpha, "WEBP")
    yield case("WebP animated", photo, "WEBP", save_all=True, append_images=[photo.rotate(90)])
    yield case("BMP", photo, "BMP")
    yield case("TIFF", photo, "TIFF")
    yield case("TIFF LZW", photo, "TIFF", compression="tiff_lzw")
    yield case("TIFF CMYK", photo.convert("CMYK"), "TIFF")
    yield case("TIFF 16-bit", deep, "TIFF", "either")
    yield case("TIFF float", grey.convert("F"), "TIFF", "either")
    yield case("TIFF two colours", photo.convert("1"), "TIFF", "either")
    if features.check("avif"):
        yield case("AVIF", photo, "AVIF")
    for kind in ("ICO", "PPM", "TGA", "SGI", "PCX", "DDS", "ICNS", "PDF", "EPS", "JPEG2000"):
        if kind == "JPEG2000" and not features.check("jpg_2000"):
            continue
        image = photo.resize((256, 256)) if kind in ("ICO", "ICNS") else photo
        yield case(kind, image, kind, "refusal")
    yield Case("HEIC header alone", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, "refusal")


def _orientations(photo: Image.Image) -> Iterator[Case]:
    stored = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    for orientation, operation in stored.items():
        image = photo if operation is None else photo.transpose(Image.Transpose(operation))
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield Case(f"EXIF orientation {orientation}", encoded(image, "JPEG", exif=exif), "answer")


def _damaged(photo: Image.Image) -> Iterator[Case]:
    jpeg, png = encoded(photo, "JPEG", quality=90), encoded(photo, "PNG")
    for share in range(5, 100, 10):
        yield Case(f"JPEG cut at {share} %", jpeg[: len(jpeg) * share // 100], "refusal")
    for share in (2, 30, 60, 90, 99):
        yield Case(f"PNG cut at {share} %", png[: len(png) * share // 100], "refusal")
    for seed in range(10):
        randomness = random.Random(seed)
        flipped = bytearray(jpeg if seed % 2 else png)
        for _ in range(1 + seed):
            flipped[randomness.randrange(len(flipped))] ^= 1 << randomness.randrange(8)
        yield Case(f"{'JPEG' if seed % 2 else 'PNG'} with {1 + seed} flipped bits", bytes(flipped), "either")
    yield Case("JPEG, then rubbish", jpeg + random.Random(1).randbytes(5000), "answer")
    yield Case("JPEG twice", jpeg + jpeg, "answer")


def _odd_sizes(photo: Image.Image) -> Iterator[Case]:
    for size in ((1, 1), (3000, 1), (1, 3000), (227, 227), (16, 4000)):
        yield Case(f"{size[0]} x {size[1]}", encoded(photo.resize(size), "PNG"), "either")
    yield Case("144 megapixels in a small PNG", _solid_png(12_000, 12_000), "refusal")
    yield Case("65500 x 65500 in a JPEG's header", _with_jpeg_size(encoded(photo, "JPEG"), 65_500), "refusal")
    yield Case("2 gigapixels in a BMP's header", _bmp_header(50_000, 40_000), "refusal")
    yield Case("PNG whose text unpacks to 100 MB", _png_with_text(100_000_000), "either")


def _not_images() -> Iterator[Case]:
    yield Case("empty", b"", "refusal")
    yield Case("HTML", b"<!doctype html><html><script>alert(1)</script></html>", "refusal")
    yield Case("SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>', "refusal")
    yield Case("text", b"keine Bilddatei\n" * 50, "refusal")
    yield Case("zeros", b"\0" * 100_000, "refusal")
    yield Case("random bytes", random.Random(2).randbytes(100_000), "refusal")
    yield Case("JPEG's first bytes alone", b"\xff\xd8\xff\xe0", "refusal")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.jpg", b"\0" * 50_000_000)
    yield Case("zip bomb", bomb.getvalue(), "refusal")


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
