"""Decoding with Pillow: everywhere, and for what DALI refuses."""

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
from .base import CROP, FORMATS, MEAN, STD, Decoded, read_header, resized

_MEAN = np.asarray(MEAN, np.float32)
_INVERSE_STD = 1 / np.asarray(STD, np.float32)
_PAPER = (255, 255, 255)


class PillowDecoder:
    """Decodes with Pillow in a few threads.

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

        def one(data: bytes) -> Tensor | ImageError:
            try:
                read_header(data, self._max_pixels)
                return decode_one(data, oriented=oriented)
            except ImageError as error:
                return error

        outcomes = list(self._pool.map(one, images))
        rows = tuple(i for i, outcome in enumerate(outcomes) if isinstance(outcome, Tensor))
        tensors = [outcome for outcome in outcomes if isinstance(outcome, Tensor)]
        return Decoded(
            (torch.stack(tensors) if tensors else torch.empty(0, 3, CROP, CROP)).to(memory_format=torch.channels_last),
            rows,
            (self.name,) * len(rows),
            {i: outcome for i, outcome in enumerate(outcomes) if isinstance(outcome, ImageError)},
        )


def decode_one(data: bytes, *, oriented: bool) -> Tensor:
    """One image whose header was checked, as float32 [3, 227, 227].

    Transparent images are laid on white, of animations the first frame is taken, 16-bit grey keeps its high byte.

    Raises:
        ImageError: It is damaged.
    """
    image = load_image(data)
    with _damage_in_one_sentence():
        if oriented:
            image = ImageOps.exif_transpose(image)
        pixels = _crop(_to_rgb(image))
    normalised = (np.asarray(pixels, np.float32) - _MEAN) * _INVERSE_STD
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))


def load_image(data: bytes) -> Image.Image:
    """An image whose header was checked, decoded to its last pixel.

    Raises:
        ImageError: It is damaged.
    """
    with _damage_in_one_sentence():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        return image


def check_image(data: bytes) -> None:
    """Refuse an image whose header was checked but whose data is damaged.

    Of a JPEG all data is read, but only an eighth of its edge is made of it, which takes half the time.

    Raises:
        ImageError: It is damaged.
    """
    with _damage_in_one_sentence():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.draft(None, (1, 1))
        image.load()


@contextlib.contextmanager
def _damage_in_one_sentence() -> Iterator[None]:
    """Pillow's decoders raise nearly anything on damaged files, and warn on standard error besides."""
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
        image = Image.new("RGBA", rgba.size, (*_PAPER, 255))
        image.alpha_composite(rgba)
    return image.convert("RGB")


def _crop(image: Image.Image) -> Image.Image:
    """The 227 x 227 centre of the image resized to shortest edge 256, without making the rest of it."""
    width, height = resized(*image.size)
    left, top = (width - CROP + 1) // 2, (height - CROP + 1) // 2
    if (width, height) == image.size:
        return image.crop((left, top, left + CROP, top + CROP))
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, (left + CROP) * x, (top + CROP) * y)
    return image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=box)
