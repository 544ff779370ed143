"""Decode with Pillow: on any machine, and whatever DALI cannot decode."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import ImageError
from .base import CROP, FORMATS, MEAN, STD, Decoded, read_header, target_size

_MEAN = np.asarray(MEAN, np.float32)
_INVERSE_STD = 1 / np.asarray(STD, np.float32)
_WHITE = (255, 255, 255, 255)


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
                read_header(data, self._max_pixels)
                return decode_one(data, oriented=oriented)
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


def decode_one(data: bytes, *, oriented: bool) -> Tensor:
    """Decode one image whose header was checked, to normalised float32 [3, 227, 227].

    Transparent images get a white background, animations give their first frame, 16-bit grey keeps its high byte.

    Args:
        data: The bytes of the file.
        oriented: Apply the EXIF orientation.

    Raises:
        ImageError: The image is damaged.
    """
    image = load_image(data)
    with _damage_as_image_error():
        if oriented:
            image = ImageOps.exif_transpose(image)
        pixels = _crop(_to_rgb(image))
    normalised = (np.asarray(pixels, np.float32) - _MEAN) * _INVERSE_STD
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))


def load_image(data: bytes) -> Image.Image:
    """Decode all of an image whose header was checked.

    Raises:
        ImageError: The image is damaged.
    """
    with _damage_as_image_error():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        return image


def check_image(data: bytes) -> None:
    """Check the data of an image whose header was checked.

    All data of a JPEG is read but decoded at an eighth of the size, which takes half the time.

    Raises:
        ImageError: The image is damaged.
    """
    with _damage_as_image_error():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.draft(None, (1, 1))
        image.load()


@contextlib.contextmanager
def _damage_as_image_error() -> Iterator[None]:
    """Turn whatever Pillow raises on damaged files into an ImageError, and silence its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError("The photo is damaged and cannot be decoded; expected a whole file: copy it again.") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(np.clip(np.nan_to_num(np.asarray(image)), 0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, _WHITE)
        image.alpha_composite(rgba)
    return image.convert("RGB")


def _crop(image: Image.Image) -> Image.Image:
    """Resize the shortest edge to 256 and crop the central 227 x 227 pixels, computing only those."""
    width, height = target_size(*image.size)
    left, top = (width - CROP + 1) // 2, (height - CROP + 1) // 2
    if (width, height) == image.size:
        return image.crop((left, top, left + CROP, top + CROP))
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + CROP) * x, (top + CROP) * y)
    return image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=box)
