"""What a validation pass counts: integers only, so that sums are exact in any order. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..models.architecture import NUM_CLASSES

LOSS_UNIT = 2.0**-32
"""Losses are summed as whole multiples of this."""


@dataclass
class ModelSums:
    """What was counted for one model. Arrays are int64."""

    loss: int = 0
    """Sum of cross-entropies in units of 2⁻³²."""
    class_top1: np.ndarray = field(default_factory=lambda: np.zeros(NUM_CLASSES, np.int64))
    """[1000]: images of each class whose most probable class is right."""
    class_top5: np.ndarray = field(default_factory=lambda: np.zeros(NUM_CLASSES, np.int64))
    """[1000]: images of each class whose right class is among the five most probable."""
    confused: np.ndarray = field(default_factory=lambda: np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
    """[1000, 1000]: images by true class and most probable class."""


@dataclass(frozen=True)
class Unreadable:
    """A record that could not be used."""

    index: int
    reason: str


@dataclass
class Sums:
    """The state of a pass, or of one slice of it: all that a checkpoint holds."""

    models: dict[str, ModelSums]
    position: int = 0
    """The next record to read."""
    class_count: np.ndarray = field(default_factory=lambda: np.zeros(NUM_CLASSES, np.int64))
    """[1000]: images of each class."""
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of images classified."""
        return int(self.class_count.sum())

    def add(self, other: Sums) -> None:
        """Add the sums of another slice of the same pass."""
        for name, sums in self.models.items():
            more = other.models[name]
            sums.loss += more.loss
            sums.class_top1 += more.class_top1
            sums.class_top5 += more.class_top5
            sums.confused += more.confused
        self.class_count += other.class_count
        self.unreadable = sorted(self.unreadable + other.unreadable, key=lambda item: item.index)
        self.position = max(self.position, other.position)
