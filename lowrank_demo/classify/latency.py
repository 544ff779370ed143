"""Measure how long a model's network takes for one image on this machine."""

from __future__ import annotations

import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from ..models.architecture import INPUT_SIZE
from ..models.cards import ModelCard
from ..nn.alexnet import LowRankAlexNet
from ..settings import Arithmetic
from .inference import Classifier

_REPEATS = 25
_WARM_UP = 3


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one image, without decoding."""

    median: float
    low: float
    """Lower quartile of the passes."""
    high: float
    """Upper quartile of the passes."""


def measure(
    card: ModelCard,
    device: torch.device,
    arithmetic: Arithmetic = Arithmetic(),
    turn: AbstractContextManager[object] | None = None,
) -> Latency:
    """Time forward passes of one image.

    The weights are random, because they do not change the time: the model need not be downloaded.

    Args:
        card: The model; only its scheme and ranks matter.
        device: Device to run on.
        arithmetic: Engine and precision.
        turn: Held during each pass, so that others need not wait for all of them.
    """
    network = LowRankAlexNet(card.scheme, [max(rank, 1) for rank in card.ranks])
    classifier = Classifier(network, device, arithmetic)
    image = torch.randn(1, 3, INPUT_SIZE, INPUT_SIZE, device=device)
    times: list[float] = []
    for _ in range(_WARM_UP + _REPEATS):
        with turn or nullcontext():
            began = time.perf_counter()
            # Copying the logits to the CPU waits until a GPU is done.
            classifier.logits(image).cpu()
            times.append((time.perf_counter() - began) * 1e3)
    low, median, high = statistics.quantiles(times[_WARM_UP:], n=4)
    return Latency(median, low, high)
