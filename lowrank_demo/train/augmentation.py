"""Random changes to a training image: colours, a crop, a flip."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from ..decode.base import CROP, crop_box
from ..decode.pixels import load_image, to_rgb
from .config import DataConfig

_RATIOS = (3 / 4, 4 / 3)
"""Smallest and largest width / height of a random crop."""


def augment(data: bytes, config: DataConfig, randomness: random.Random) -> Tensor:
    """Return a crop of an encoded image, perhaps flipped, with changed colours.

    Returns:
        uint8 [227, 227, 3].

    Raises:
        ImageError: The image is damaged.
    """
    image = to_rgb(load_image(data))
    # Change colours where there are fewer pixels: before or after resizing.
    small = image.width * image.height < CROP * CROP
    if small:
        image = _recolour(image, config, randomness)
    image = image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=_crop_box(image, config, randomness))
    if config.flip and randomness.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if not small:
        image = _recolour(image, config, randomness)
    return torch.from_numpy(np.array(image))


def _recolour(image: Image.Image, config: DataConfig, randomness: random.Random) -> Image.Image:
    """Change brightness, contrast and saturation, in a random order."""
    if config.colour:
        changes = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
        randomness.shuffle(changes)
        for change in changes:
            image = change(image).enhance(1 + randomness.uniform(-config.colour, config.colour))
    return image


def _crop_box(image: Image.Image, config: DataConfig, randomness: random.Random) -> tuple[float, float, float, float]:
    """Return the part of the image to resize: one of random area and ratio, or one of a fixed size."""
    if config.crop == "shifted":
        return crop_box(*image.size, lambda spare: randomness.randint(0, spare))
    if config.smallest_crop == 1:
        return crop_box(*image.size)
    return _resized_box(image, config.smallest_crop, randomness)


def _resized_box(image: Image.Image, smallest: float, randomness: random.Random) -> tuple[float, float, float, float]:
    """Return a box of random area and ratio inside the image, or the largest central square if none fits."""
    width, height = image.size
    for _ in range(10):
        area = width * height * randomness.uniform(smallest, 1)
        ratio = math.exp(randomness.uniform(math.log(_RATIOS[0]), math.log(_RATIOS[1])))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = randomness.uniform(0, width - w), randomness.uniform(0, height - h)
            return left, top, left + w, top + h
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    return left, top, left + edge, top + edge
