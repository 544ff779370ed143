"""Decode with Pillow: on any machine, and whatever DALI cannot decode."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from ..errors import ImageError
from .base import CROP, FORMATS, MEAN, STD, Decoded, damage_as_image_error, read_header, target_size

_MEAN = np.asarray(MEAN, np.float32)
_INVERSE_STD = 1 / np.asarray(STD, np.float32)
_WHITE = (255, 255, 255, 255)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of an EXIF orientation upright. Pillow's own exif_transpose reads the EXIF data again, and fails
where it is damaged; the header's check takes such data as absent."""


class PillowDecoder:
    """Decodes with Pillow, in threads.

    Args:
        max_pixels: Larger images are refused before they are decoded.
        threads: Images decoded at the same time.
    """

    name = "pillow"

    def __init__(self, max_pixels: int, threads: int = 1) -> None:
        self._max_pixels = max_pixels
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pillow")

    def decode(self, images: Sequence[bytes], *, oriented: bool = True) -> Decoded:
        """See :class:`~lowrank_demo.decode.base.Decoder`."""

        def decode_or_refuse(data: bytes) -> Tensor | ImageError:
            try:
                header = read_header(data, self._max_pixels)
                return decode_one(data, header.orientation if oriented else 1)
            except ImageError as error:
                return error

        outcomes = list(self._pool.map(decode_or_refuse, images))
        rows = tuple(i for i, outcome in enumerate(outcomes) if isinstance(outcome, Tensor))
        tensors = [outcome for outcome in outcomes if isinstance(outcome, Tensor)]
        return Decoded(
            (torch.stack(tensors) if tensors else torch.empty(0, 3, CROP, CROP)).to(memory_format=torch.channels_last),
            rows,
            (self.name,) * len(rows),
            {i: outcome for i, outcome in enumerate(outcomes) if isinstance(outcome, ImageError)},
        )


def decode_one(data: bytes, orientation: int = 1) -> Tensor:
    """Decode one image whose header was checked, to normalised float32 [3, 227, 227].

    Transparent images get a white background, animations give their first frame, 16-bit grey keeps its high byte.

    Args:
        data: The bytes of the file.
        orientation: The EXIF orientation to undo, 1 to 8.

    Raises:
        ImageError: The image is damaged.
    """
    image = load_image(data)
    with damage_as_image_error():
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        pixels = _crop(to_rgb(image))
    normalised = (np.asarray(pixels, np.float32) - _MEAN) * _INVERSE_STD
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))


def load_image(data: bytes) -> Image.Image:
    """Decode all of an image whose header was checked.

    Raises:
        ImageError: The image is damaged.
    """
    with damage_as_image_error():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        return image


def check_image(data: bytes) -> None:
    """Check the data of an image whose header was checked.

    All data of a JPEG is read but decoded at an eighth of the size, which takes half the time.

    Raises:
        ImageError: The image is damaged.
    """
    with damage_as_image_error():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.draft(None, (1, 1))
        image.load()


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any colour mode to RGB, with a white background; 16-bit grey keeps its high byte.

    Raises:
        ValueError: Pillow cannot convert this mode.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.max() <= 1 else 1  # most floating-point images run from 0 to 1
        image = Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    elif image.mode == "LAB":
        image = ImageCms.applyTransform(image, _lab_to_rgb()) or image
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, _WHITE)
        image.alpha_composite(rgba)
    return image.convert("RGB")


@lru_cache(maxsize=1)
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB")


def _crop(image: Image.Image) -> Image.Image:
    """Resize the shortest edge to 256 and crop the central 227 x 227 pixels, computing only those."""
    width, height = target_size(*image.size)
    left, top = (width - CROP + 1) // 2, (height - CROP + 1) // 2
    if (width, height) == image.size:
        return image.crop((left, top, left + CROP, top + CROP))
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + CROP) * x, (top + CROP) * y)
    return image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=box)
