"""What one measurement is, and how time is taken on a machine that is never quite idle."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Result:
    """One measurement beside its limit or rival."""

    what: str
    measured: float
    against: float
    """The limit's or the rival's figure, measured in the same run."""
    unit: str
    limit: str
    """What ``against`` is."""
    goal: float
    at_least: bool = False
    """Whether the ratio should be at least the goal; else at most."""

    @property
    def ratio(self) -> float:
        """``measured`` over ``against``."""
        return self.measured / self.against

    @property
    def reached(self) -> bool:
        """Whether the ratio keeps to its goal."""
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


@dataclass(frozen=True)
class Unmeasured:
    """A measurement that cannot be made here, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Finding:
    """A figure without a rival, such as a slope."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True)
class Note:
    """What a measurement says in words."""

    what: str
    text: str


Outcome = Result | Unmeasured | Finding | Note


@dataclass(frozen=True)
class Times:
    """How long some work took."""

    seconds: float
    processor: float
    """Processor time of all threads together, in seconds."""


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Median duration of ``work`` after one run that is not counted."""
    work()
    return statistics.median(_timed(work).seconds for _ in range(repeats))


def interleaved(works: Sequence[Callable[[], object]], repeats: int = 3) -> list[float]:
    """Median duration of each work, run in turns so that load from elsewhere affects all alike."""
    return [times.seconds for times in interleaved_times(works, repeats)]


def interleaved_times(works: Sequence[Callable[[], object]], repeats: int = 3) -> list[Times]:
    """Median times of each work, run in turns, after one run each that is not counted."""
    for work in works:
        work()
    rounds = [[_timed(work) for work in works] for _ in range(repeats)]
    return [
        Times(statistics.median(one.seconds for one in times), statistics.median(one.processor for one in times))
        for times in zip(*rounds, strict=True)
    ]


def matrix_product(dtype: torch.dtype = torch.float32, size: int = 1536) -> tuple[Callable[[], object], int]:
    """A product of square matrices, as the machine's limit, and its MACs."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    repeats = 8
    return lambda: [a @ b for _ in range(repeats)], repeats * size**3


def _timed(work: Callable[[], object]) -> Times:
    began, processor = time.perf_counter(), time.process_time()
    work()
    return Times(time.perf_counter() - began, time.process_time() - processor)
