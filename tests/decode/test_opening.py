"""Metadata that Pillow cannot read does not cost the photo."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image, ImageCms

from lowrank_demo.data.resize import resize_bytes
from lowrank_demo.decode.base import read_header
from lowrank_demo.decode.pixels import check_image, load_image, read_crop
from lowrank_demo.errors import ImageError
from tests.helpers.photos import encoded, open_photo

PIXELS = 64_000_000
_LONG = zlib.compress(b"x" * 2_000_000)
_PNG, _JPEG = encoded(open_photo(), "PNG"), encoded(open_photo(), "JPEG")
_HEADER = 33
"""Bytes of a PNG's signature and first chunk."""
_END = 12
"""Bytes of its last chunk."""


def chunk(name: bytes, content: bytes, *, whole: bool = True) -> bytes:
    checksum = zlib.crc32(name + content) ^ (not whole)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", 2 + len(content)) + content


_CHUNKS: Mapping[str, bytes] = {
    "a text of two megabytes, as image editors write them": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _LONG),
    "a compressed text of two megabytes": chunk(b"zTXt", b"workflow\0\0" + _LONG),
    "too many texts": b"".join(chunk(b"zTXt", b"%d\0\0" % i + zlib.compress(b"x" * 1_000_000)) for i in range(70)),
    "a long colour profile": chunk(b"iCCP", b"a\0\0" + _LONG),
    "half a colour profile": chunk(b"iCCP", b"a"),
    "an unknown compression": chunk(b"iCCP", b"a\0\1abc"),
    "a cut gamma": chunk(b"gAMA", b"\0\0"),
    "cut colours": chunk(b"cHRM", bytes(6)),
    "no intent": chunk(b"sRGB", b""),
    "a cut resolution": chunk(b"pHYs", b"\0\0\0"),
    "a wrong checksum of a text": chunk(b"tEXt", b"a\0b", whole=False),
    "a wrong checksum of EXIF data": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", whole=False),
    "a wrong checksum of an unknown chunk": chunk(b"prVt", b"abc", whole=False),
}
_SEGMENTS: Mapping[str, bytes] = {
    "a cut JFIF header": segment(0xE0, b"JFIF\0\1"),
    "a cut Adobe header": segment(0xEE, b"Adobe"),
    "half a colour profile": segment(0xE2, b"ICC_PROFILE\0"),
}
ODD = {
    **{f"PNG, {name}, before the pixels": _PNG[:_HEADER] + odd + _PNG[_HEADER:] for name, odd in _CHUNKS.items()},
    **{f"PNG, {name}, after the pixels": _PNG[:-_END] + odd + _PNG[-_END:] for name, odd in _CHUNKS.items()},
    **{f"JPEG, {name}": _JPEG[:2] + odd + _JPEG[2:] for name, odd in _SEGMENTS.items()},
}


@pytest.mark.parametrize("which", ODD)
def test_unreadable_metadata_is_ignored(which: str) -> None:
    odd, plain = ODD[which], _PNG if which.startswith("PNG") else _JPEG
    assert np.array_equal(read_crop(odd, PIXELS), read_crop(plain, PIXELS))
    check_image(odd)
    resized = Image.open(io.BytesIO(resize_bytes(odd, 128)))
    assert min(resized.size) == 128


def test_what_can_be_read_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    png = encoded(open_photo(), "PNG", icc_profile=profile, exif=exif)
    odd = png[:_HEADER] + chunk(b"zTXt", b"workflow\0\0" + _LONG) + png[_HEADER:]
    assert read_header(odd, PIXELS).orientation == 6
    resized = Image.open(io.BytesIO(resize_bytes(odd, 128)))
    assert resized.info["icc_profile"] == profile
    assert resized.getexif()[0x0112] == 6


@pytest.mark.parametrize("data", [_PNG[: len(_PNG) // 2], _JPEG[: len(_JPEG) // 2]], ids=["PNG", "JPEG"])
def test_pixels_that_are_missing_are_still_damage(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"cut off|damaged"):
        read_crop(data, PIXELS)


def test_damaged_pixels_are_still_damage_beside_odd_metadata() -> None:
    png = bytearray(_PNG)
    png[len(png) // 2] ^= 255
    with pytest.raises(ImageError, match="damaged and cannot be decoded"):
        read_crop(bytes(png[:_HEADER]) + _CHUNKS["a cut resolution"] + bytes(png[_HEADER:]), PIXELS)


def test_a_size_that_only_shows_without_the_metadata_is_not_decoded() -> None:
    """The header's check saw 16 x 16 pixels, and 81 million were decoded in the end."""

    def header(edge: int) -> bytes:
        return chunk(b"IHDR", struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0))

    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 16, 16, 0, 0, 1, 1, 0, 0)) + chunk(b"fdAT", b"\0\0\0\1junk")
    pixels = chunk(b"IDAT", zlib.compress(bytes(1126 * 9000)))
    png = b"\x89PNG\r\n\x1a\n" + header(16) + frame + header(9000) + pixels + chunk(b"IEND", b"")
    assert read_header(png, PIXELS).width == 16
    with pytest.raises(ImageError, match="damaged"):
        load_image(png)


def test_pillow_warns_nobody() -> None:
    """In a process of its own: pytest sets the filters for each test."""
    program = (
        "import io; from PIL import Image; from lowrank_demo.decode.base import read_header; file = io.BytesIO();"
        "Image.new('RGB', (9, 9)).save(file, 'JPEG', exif=b'Exif\\0\\0MM\\0*\\0\\0\\0\\x08\\0\\x09');"
        "read_header(file.getvalue(), 10**9){}"
    )
    loud = "; import warnings; warnings.resetwarnings(); read_header(file.getvalue(), 10**9)"
    for more, heard in (("", False), (loud, True)):
        run = subprocess.run(
            [sys.executable, "-c", program.format(more)], capture_output=True, text=True, check=True, timeout=60
        )
        assert ("UserWarning" in run.stderr) == heard, run.stderr
