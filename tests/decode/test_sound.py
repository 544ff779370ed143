"""What a JPEG's structure tells: usual photos are sound, and what is sound decodes."""

from __future__ import annotations

import random
import struct

import pytest
from PIL import Image

from lowrank_demo.decode.base import read_header
from lowrank_demo.decode.pixels import check_image
from lowrank_demo.decode.sound import is_sound
from lowrank_demo.errors import ImageError
from tests.faults.fuzz import mutated
from tests.helpers.photos import encoded, open_photo, photo_path

PHOTO = open_photo().resize((300, 200))
WHOLE = encoded(PHOTO, "JPEG", quality=90)
USUAL = {
    "4:2:0": WHOLE,
    "4:2:2": encoded(PHOTO, "JPEG", subsampling=1),
    "4:4:4": encoded(PHOTO, "JPEG", subsampling=0),
    "its own Huffman tables": encoded(PHOTO, "JPEG", optimize=True),
    "grey": encoded(PHOTO.convert("L"), "JPEG"),
    "CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "RGB": encoded(PHOTO, "JPEG", keep_rgb=True),
    "one pixel": encoded(PHOTO.resize((1, 1)), "JPEG"),
    "restart markers": encoded(PHOTO, "JPEG", restart_marker_rows=2),
    "a profile, a comment": encoded(PHOTO, "JPEG", icc_profile=b"x" * 200_000, comment=b"y" * 60_000),
    "bytes after the end": WHOLE + b"more" * 1000,
    "MPO": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(90)]),
}
DQT, DHT, SOF, SOS = b"\xff\xdb", b"\xff\xc4", b"\xff\xc0", b"\xff\xda"
CODED = WHOLE.index(SOS) + 14
"""Where the coded data begins."""


def without(marker: bytes) -> bytes:
    """The photo without the first segment of a kind."""
    at = WHOLE.index(marker)
    (length,) = struct.unpack_from(">H", WHOLE, at + 2)
    return WHOLE[:at] + WHOLE[at + 2 + length :]


def changed(marker: bytes, offset: int, *values: int) -> bytes:
    """The photo with other bytes in the first segment of a kind, counted from what follows its length."""
    at = WHOLE.index(marker) + 4 + offset
    return WHOLE[:at] + bytes(values) + WHOLE[at + len(values) :]


UNSOUND = {
    "no quantisation table": without(DQT),
    "a quantisation table of another number": changed(DQT, 0, 4),
    "no Huffman table": without(DHT),
    "a Huffman table of another number": changed(DHT, 0, 4),
    "more codes of one bit than there are": changed(DHT, 1, 3),
    "more symbols than the segment holds": changed(DHT, 16, 200),
    "a symbol that no difference has": changed(DHT, 17, 16),
    "no frame": without(SOF),
    "two frames": WHOLE.replace(SOF, WHOLE[WHOLE.index(SOF) :][:19] + SOF),
    "12 bits": changed(SOF, 0, 12),
    "no height": changed(SOF, 1, 0, 0),
    "too many pixels": changed(SOF, 1, 0xF0, 0, 0xF0, 0),
    "two components": changed(SOF, 5, 2),
    "a component twice": changed(SOF, 9, 1),
    "sampling by nothing": changed(SOF, 7, 0x20),
    "sampling by 3": changed(SOF, 7, 0x31),
    "blocks beyond the limit": changed(SOF, 7, 0x44),
    "a quantisation table that is not there": changed(SOF, 8, 3),
    "no scan": without(SOS),
    "a scan of one component": changed(SOS, 0, 1),
    "a scan of another component": changed(SOS, 1, 9),
    "a scan with a DC table that is not there": changed(SOS, 2, 0x30),
    "a scan with an AC table that is not there": changed(SOS, 2, 0x03),
    "another marker in the coded data": WHOLE[:-1000] + SOF + WHOLE[-1000:],
    "no end": WHOLE[:-2],
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "PNG": encoded(PHOTO, "PNG"),
    "more restart markers than may be searched": encoded(
        Image.new("L", (2000, 2000), 128), "JPEG", restart_marker_blocks=1
    ),
    "nothing": b"",
}


def decodes(data: bytes) -> bool:
    try:
        read_header(data, 256_000_000)
        check_image(data)
    except ImageError:
        return False
    return True


@pytest.mark.parametrize("kind", USUAL)
def test_usual_photos_are_sound(kind: str) -> None:
    assert is_sound(USUAL[kind])
    assert decodes(USUAL[kind])


def test_real_photos_are_sound() -> None:
    for name in ("cheetah.jpg", "tower.jpg", "cheetah1.jpg"):
        assert is_sound(photo_path(name).read_bytes()), name


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_is_not_known_to_decode_is_not_sound(kind: str) -> None:
    assert not is_sound(UNSOUND[kind])


def test_a_photo_cut_anywhere_is_not_sound() -> None:
    assert not any(is_sound(WHOLE[:length]) for length in range(len(WHOLE)))


def test_what_is_sound_decodes() -> None:
    """Small photos, so that half of the damage is in the tables."""
    randomness = random.Random(0)
    small = PHOTO.resize((40, 30))
    seeds = [
        encoded(small, "JPEG"),
        encoded(small, "JPEG", optimize=True),
        encoded(small.convert("CMYK"), "JPEG", restart_marker_rows=1),
    ]
    damaged = [mutated(seeds[i % len(seeds)], randomness) for i in range(1500)]
    sound = [data for data in damaged if is_sound(data)]
    assert len(sound) > 400
    assert all(decodes(data) for data in sound)
    assert sum(map(decodes, damaged)) - len(sound) < 300, "few are decoded in vain"


@pytest.mark.parametrize("bits", [1, 10, 100])
def test_neither_way_sees_damage_inside_the_coded_data(bits: int) -> None:
    """As the README says: a JPEG has no checksum."""
    randomness = random.Random(bits)
    data = bytearray(WHOLE)
    while bits:
        at, flipped = randomness.randrange(CODED, len(data) - 2), 1 << randomness.randrange(8)
        # The byte 0xFF begins a marker, which is seen.
        if 0xFF not in (data[at - 1], data[at], data[at] ^ flipped):
            data[at] ^= flipped
            bits -= 1
    assert is_sound(bytes(data))
    assert decodes(bytes(data))
