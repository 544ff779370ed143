"""Decode with Pillow: on any machine, and whatever DALI cannot decode."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError
from .base import CROP, MEAN, STD, Decoded, read_header
from .pixels import crop_of

_MEAN = np.asarray(MEAN, np.float32)
_INVERSE_STD = 1 / np.asarray(STD, np.float32)


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

        def decode_or_refuse(data: bytes) -> tuple[Tensor | ImageError, float]:
            began = time.perf_counter()
            try:
                header = read_header(data, self._max_pixels)
                outcome = decode_one(data, header.orientation if oriented else 1)
            except ImageError as error:
                outcome = error
            return outcome, (time.perf_counter() - began) * 1e3

        timed = list(self._pool.map(decode_or_refuse, images))
        outcomes = [outcome for outcome, _ in timed]
        rows = tuple(i for i, outcome in enumerate(outcomes) if isinstance(outcome, Tensor))
        tensors = [outcome for outcome in outcomes if isinstance(outcome, Tensor)]
        return Decoded(
            (torch.stack(tensors) if tensors else torch.empty(0, 3, CROP, CROP)).to(memory_format=torch.channels_last),
            rows,
            (self.name,) * len(rows),
            {i: outcome for i, outcome in enumerate(outcomes) if isinstance(outcome, ImageError)},
            {i: timed[i][1] for i in rows},
        )


def decode_one(data: bytes, orientation: int = 1) -> Tensor:
    """Decode one image whose header was checked, to normalised float32 [3, 227, 227].

    Args:
        data: The bytes of the file.
        orientation: The EXIF orientation to undo, 1 to 8.

    Raises:
        ImageError: The image is damaged.
    """
    return normalised(crop_of(data, orientation))


def normalised(pixels: np.ndarray) -> Tensor:
    """Turn colours, uint8 [227, 227, 3], into a network's input, float32 [3, 227, 227]."""
    values = (pixels.astype(np.float32) - _MEAN) * _INVERSE_STD
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
