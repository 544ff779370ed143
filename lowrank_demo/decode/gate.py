"""Check strangers' files before anything in this process decodes them.

An ordinary JPEG passes, reduced to what decoding needs, and costs a walk over its markers. Every other file is decoded
in a child process that may be killed. No lock is held meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..errors import ImageError, TooCostly
from ..runtime.confined import Children
from .markers import ordinary_jpeg
from .pixels import read_crop


@dataclass(frozen=True)
class Crop:
    """An image that was decoded."""

    pixels: np.ndarray
    """What a network sees of it, uint8 [227, 227, 3]."""
    milliseconds: float
    """How long decoding it took."""


Admitted: TypeAlias = "bytes | Crop | ImageError"
"""A JPEG for a decoder, or another image that was decoded, or why a file cannot be used."""

_MAX_SECONDS = 20.0
"""Seconds after which further files of a request are not tried if they need a child process."""
_MAX_COSTLY = 3
"""Limit on the files of one request that use up all the time or memory that a file is allowed."""


class Gate:
    """Admits strangers' files. Safe for use by several threads.

    Args:
        max_pixels: Larger images are refused.
        children: Files that are decoded in child processes at the same time, for all requests together.
    """

    def __init__(self, max_pixels: int, children: int) -> None:
        self._max_pixels = max_pixels
        self._children = Children(children)

    def admit(self, files: Iterable[bytes | ImageError]) -> Iterator[Admitted]:
        """Yield what becomes of each file of one request, in order; an error is passed on.

        The files are taken when they are needed, one at a time, so that requests take turns.
        """
        costly = 0
        ends = time.monotonic() + _MAX_SECONDS
        for data in files:
            if isinstance(data, ImageError):
                yield data
            elif jpeg := ordinary_jpeg(data, self._max_pixels):
                yield jpeg
            elif costly == _MAX_COSTLY:
                yield ImageError(
                    f"{_MAX_COSTLY} files of this request took too long to decode, so this one was not tried; expected "
                    "ordinary photos: send it again without them, or save it as a JPEG."
                )
            elif time.monotonic() > ends:
                yield ImageError(
                    f"The photos before this one took more than {_MAX_SECONDS:.0f} seconds to decode, so it was not "
                    "tried; expected fewer at once: send it on its own, or save it as a JPEG."
                )
            else:
                try:
                    yield self._children.call(_decoded, data, self._max_pixels)
                except ImageError as error:
                    yield error
                except TooCostly:
                    costly += 1
                    yield ImageError(
                        "The photo takes too much time or memory to decode; expected an ordinary one: make it smaller, "
                        "or save it as a JPEG, and try again."
                    )


def _decoded(data: bytes, max_pixels: int) -> Crop:
    """Decode an image in a child process, and time it there: without the wait for the process."""
    began = time.perf_counter()
    pixels = read_crop(data, max_pixels)
    return Crop(pixels, (time.perf_counter() - began) * 1e3)
