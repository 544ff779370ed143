"""Images to pixels with Pillow: transparency."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lowrank_demo.decode.gate import Crop, Gate
from lowrank_demo.decode.pixels import to_rgb
from tests.faults.hostile import png


def test_transparency_is_as_pillow_composites_it() -> None:
    """Every value with every opacity."""
    values, opacity = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    image = Image.fromarray(np.dstack([values, values[:, ::-1], values, opacity]))
    expected = Image.new("RGBA", image.size, "white")
    expected.alpha_composite(image)
    assert to_rgb(image) == expected.convert("RGB")
    grey = Image.fromarray(np.dstack([values, opacity]))
    assert np.array_equal(np.asarray(to_rgb(grey))[..., 0], np.asarray(expected)[..., 0])


def test_a_transparent_photo_of_20_megapixels_is_not_refused_for_its_memory() -> None:
    """It took more than a child process may, from 15 megapixels on."""
    (crop,) = Gate(64_000_000, 1).admit([png(4470, 4470, 4)])
    assert isinstance(crop, Crop), crop
