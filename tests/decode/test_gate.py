"""What becomes of strangers' files: ordinary JPEGs pass, others are decoded elsewhere, costly ones are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowrank_demo.decode.gate import Crop, Gate
from lowrank_demo.decode.pixels import read_crop
from lowrank_demo.errors import ImageError
from tests.faults.hostile import hostile_files
from tests.helpers.photos import encoded, open_photo, photo_path

PIXELS = 64_000_000


def children() -> int:
    """Processes that this one has started and that are there."""
    parents = [path.read_text().rpartition(")")[2].split()[1] for path in Path("/proc").glob("[0-9]*/stat")]
    return parents.count(str(os.getpid()))


def test_ordinary_jpegs_start_no_child() -> None:
    before = children()
    data = photo_path().read_bytes()
    assert list(Gate(PIXELS, 2).admit([data] * 3)) == [data] * 3
    assert children() == before


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF"])
def test_other_images_come_back_as_pixels(kind: str) -> None:
    data = encoded(open_photo().resize((300, 260)), kind)
    (crop,) = Gate(PIXELS, 1).admit([data])
    assert isinstance(crop, Crop)
    assert np.array_equal(crop.pixels, read_crop(data, PIXELS))
    assert crop.milliseconds > 0


def test_a_large_jpeg_looks_as_it_would_in_whole() -> None:
    data = encoded(open_photo().resize((5400, 4000)), "JPEG", progressive=True)
    (crop,) = Gate(PIXELS, 1).admit([data])
    assert isinstance(crop, Crop)
    (whole,) = Gate(PIXELS, 1).admit([encoded(open_photo().resize((5400, 4000)), "PNG", compress_level=1)])
    assert isinstance(whole, Crop)
    assert np.abs(crop.pixels.astype(int) - whole.pixels).mean() < 2


def test_costly_files_are_refused_and_the_others_of_the_request_admitted() -> None:
    costly, photo = hostile_files()["TIFF whose tags share bytes"](), photo_path().read_bytes()
    lost = ImageError("The file cannot be read.")
    gate = Gate(PIXELS, 2)
    outcomes = list(gate.admit([costly, b"no photo", lost, costly, photo, costly, costly, photo]))
    assert outcomes[4] == outcomes[7] == photo
    assert outcomes[2] is lost
    assert "is a text file" in str(outcomes[1])
    assert ["too much time or memory" in str(outcomes[i]) for i in (0, 3, 5)] == [True] * 3
    assert "was not tried" in str(outcomes[6])
    small = encoded(Image.new("RGB", (9, 9)), "PNG")
    assert isinstance(next(iter(gate.admit([small]))), Crop), "the next request begins anew"
