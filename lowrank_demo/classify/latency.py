"""How long one image takes in a model's network on this machine, measured now."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from ..models.architecture import INPUT_SIZE
from ..models.cards import ModelCard
from ..nn.alexnet import LowRankAlexNet
from ..settings import Arithmetic
from .inference import Classifier

_REPEATS = 25
_WARM = 3


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one image, decoding not included."""

    median: float
    low: float
    """A quarter of the passes took less."""
    high: float
    """A quarter of the passes took more."""


def measure(card: ModelCard, device: torch.device, arithmetic: Arithmetic = Arithmetic()) -> Latency:
    """Time forward passes of one image.

    Weights do not change the time, so that random ones serve: a model need not be downloaded for it.

    Args:
        card: Gives scheme and ranks.
        device: Where to run.
        arithmetic: As for :class:`~lowrank_demo.classify.inference.Classifier`.
    """
    classifier = Classifier(
        LowRankAlexNet(card.scheme, [max(rank, 1) for rank in card.ranks]), card.pre_shrink, device, arithmetic
    )
    image = torch.randn(1, 3, INPUT_SIZE, INPUT_SIZE, device=device)
    times: list[float] = []
    for _ in range(_WARM + _REPEATS):
        began = time.perf_counter()
        # Bringing the answer back waits for a GPU.
        classifier.logits(image).cpu()
        times.append((time.perf_counter() - began) * 1e3)
    low, median, high = statistics.quantiles(times[_WARM:], n=4)
    return Latency(median, low, high)
