"""Ordinary JPEGs pass with the pixels and the orientation that they had; everything else does not."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from lowrank_demo.decode.markers import jpeg_cost, ordinary_jpeg
from tests.faults.hostile import scans
from tests.helpers.photos import encoded, open_photo, photo_path

PIXELS = 64_000_000
PHOTO = open_photo().resize((300, 200))
ORDINARY = {
    "baseline": encoded(PHOTO, "JPEG"),
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "grey": encoded(PHOTO.convert("L"), "JPEG"),
    "CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "RGB": encoded(PHOTO, "JPEG", keep_rgb=True),
    "MPO": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(90)]),
    "restart markers": encoded(PHOTO, "JPEG", restart_marker_rows=2),
    "a profile, a comment": encoded(PHOTO, "JPEG", icc_profile=b"x" * 200_000, comment=b"y" * 60_000),
    "bytes after the end": encoded(PHOTO, "JPEG") + b"more" * 1000,
}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("kind", ORDINARY)
def test_an_ordinary_jpeg_keeps_its_pixels_and_nothing_else(kind: str) -> None:
    kept = ordinary_jpeg(ORDINARY[kind], PIXELS)
    assert kept
    assert np.array_equal(pixels(kept), pixels(ORDINARY[kind]))
    assert len(kept) < len(ORDINARY["RGB"]) + 5000
    assert ordinary_jpeg(kept, PIXELS) == kept


def test_real_photos_are_ordinary() -> None:
    for name in ("lion.jpg", "cheetah.jpg", "tower.jpg", "cheetah1.jpg", "groot.jpeg"):
        data = photo_path(name).read_bytes()
        kept = ordinary_jpeg(data, PIXELS)
        assert kept
        assert np.array_equal(pixels(kept), pixels(data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("where", ["little-endian EXIF", "big-endian EXIF", "XMP"])
def test_the_orientation_is_kept(orientation: int, where: str) -> None:
    exif = Image.Exif()
    exif.endian = ">" if where.startswith("big") else "<"
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    text = f'<x:xmpmeta tiff:Orientation="{orientation}"/>'.encode()
    options = {"xmp": text} if where == "XMP" else {"exif": exif}
    kept = ordinary_jpeg(encoded(PHOTO, "JPEG", **options), PIXELS)
    assert kept
    assert Image.open(io.BytesIO(kept)).getexif().get(0x0112, 1) == orientation
    assert b"a maker" not in kept
    assert b"xmpmeta" not in kept


@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\x08\0\0\0"])
def test_damaged_exif_data_states_no_orientation(exif: bytes) -> None:
    kept = ordinary_jpeg(encoded(PHOTO, "JPEG", exif=b"Exif\0\0" + exif), PIXELS)
    assert kept
    assert b"Exif" not in kept


def test_what_is_not_ordinary() -> None:
    whole = ORDINARY["baseline"]
    frame = whole.index(b"\xff\xc0")
    no = {
        "empty": b"",
        "another format": encoded(PHOTO, "PNG"),
        "cut off": whole[:-2],
        "cut off in a segment": whole[: frame + 6],
        "arithmetic coding": whole[:frame] + b"\xff\xc9" + whole[frame + 2 :],
        "twelve bits": whole[: frame + 4] + b"\x0c" + whole[frame + 5 :],
        "no height": whole[: frame + 5] + b"\0\0" + whole[frame + 7 :],
        "two frames": whole[:frame] + whole[frame : frame + 19] + whole[frame:],
        "a segment of no length": whole[:2] + b"\xff\xfe\0\0" + whole[2:],
        "many segments": whole[:2] + b"\xff\xfe\0\x02" * 1000 + whole[2:],
        "many scans": scans(64, 30),
        "several scans over many pixels": scans(2600, 8),
        "no scan": whole[: whole.index(b"\xff\xda")] + b"\xff\xd9",
        "too many pixels": encoded(Image.new("L", (8000, 8000)), "JPEG"),
        "too many pixels for several scans": encoded(Image.new("L", (6000, 5000)), "JPEG", progressive=True),
    }
    for name, data in no.items():
        assert ordinary_jpeg(data, PIXELS) is None, name
    assert ordinary_jpeg(whole, 300 * 200)
    assert ordinary_jpeg(whole, 300 * 200 - 1) is None


@pytest.mark.parametrize("filling", [b"\xff\0", b"\xff\xff", b"\0\0", b"\xff\xd0"])
def test_the_walk_is_quick(filling: bytes) -> None:
    data = ORDINARY["baseline"][:-2] + filling * 12_000_000 + b"\xff\xd9"
    began = time.process_time()
    ordinary_jpeg(data, PIXELS)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("kind", ORDINARY)
def test_the_cost_of_a_jpeg(kind: str) -> None:
    width, height = Image.open(io.BytesIO(ORDINARY[kind])).size
    passes, left = divmod(jpeg_cost(ordinary_jpeg(ORDINARY[kind], PIXELS) or b""), width * height)
    assert left == 0
    assert passes > 10 if kind == "progressive" else passes == 7


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\0", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_jpeg_costs_nothing(data: bytes) -> None:
    assert jpeg_cost(data) == 0
