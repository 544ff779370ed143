"""All answers along a path to one photo, computed when the photo arrives so that moving along the path is instant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from .inference import TOP


@dataclass(frozen=True)
class Top:
    """The likeliest classes of one network for one photo, the likeliest first."""

    classes: tuple[int, ...]
    probabilities: tuple[float, ...]


@torch.inference_mode()
def answers_along(
    networks: Sequence[Callable[[Tensor], Tensor]], pixels: Tensor, turn: AbstractContextManager[object]
) -> Iterator[Top]:
    """Yield each network's answer.

    Args:
        networks: Each returns the logits of normalised images.
        pixels: One normalised photo, float32 [1, 3, 227, 227].
        turn: Held while one network runs, and not between two, so that others are answered in between.
    """
    pixels = pixels.to(memory_format=torch.channels_last)
    for network in networks:
        with turn:
            probabilities, classes = network(pixels).float().softmax(1)[0].topk(TOP)
        yield Top(tuple(classes.tolist()), tuple(probabilities.tolist()))
