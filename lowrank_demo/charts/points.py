"""The measurements that one plot may show together: all are on one set of photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..models.cards import Errors, ModelCard
from ..models.zoo import Zoo
from ..runtime.words import counted
from ..validate.report import Report

Source = Literal["published", "cards", "validations"]
"""Where errors come from: the paper, the measurements that cards state, or a visitor's validations."""
_PUBLISHED = ("ImageNet validation set", 50_000)


@dataclass(frozen=True)
class Point:
    """One model's errors on a set."""

    card: ModelCard
    errors: Errors


@dataclass(frozen=True)
class PhotoSet:
    """A set of photos and the models that were measured on it. Errors on different sets never share a plot."""

    name: str
    images: int | None
    """Number of photos; None where a card does not say."""
    points: tuple[Point, ...]
    published: bool = False
    """Whether the errors are the paper's own, to which its uncompressed reference belongs."""

    @property
    def title(self) -> str:
        """The set's name for people, with its size."""
        return self.name if self.images is None else f"{self.name}, {counted(self.images, 'photo')}"

    def find(self, card: ModelCard) -> Errors | None:
        """Return a model's errors; None if it was not measured on this set."""
        points = (point.errors for point in self.points if point.card.id == card.id)
        # A cut is not among the points, but it may have been measured, too.
        own = card.measured if card.truncated_from else ()
        of_cut = (one for one in own if (one.dataset, one.images) == (self.name, self.images))
        return next(points, None) or next(of_cut, None)


def published(zoo: Zoo) -> PhotoSet:
    """Return what the paper's release states."""
    points = tuple(Point(card, card.published) for card in zoo if card.published)
    return PhotoSet(*_PUBLISHED, points, published=True)


def of_cards(zoo: Zoo) -> list[PhotoSet]:
    """Return the sets that the cards state measurements on, in the cards' order."""
    return _grouped(
        ((one.dataset, one.images), Point(card, one)) for card in zoo for one in card.measured if card.published is None
    )


def of_reports(reports: Sequence[Report]) -> list[PhotoSet]:
    """Return the files that were validated on, the latest first, with each model's latest result on a file."""
    return _grouped(
        ((report.file, report.count), Point(result.card, Errors(result.top1_error, result.top5_error)))
        for report in reversed(reports)
        for result in report.models
        if result.top1_error is not None and result.top5_error is not None
    )


def sets_of(source: Source, zoo: Zoo, reports: Sequence[Report]) -> list[PhotoSet]:
    """Return the sets of a source; there may be none."""
    if source == "published":
        return [published(zoo)]
    return of_cards(zoo) if source == "cards" else of_reports(reports)


def _grouped(found: Iterable[tuple[tuple[str, int | None], Point]]) -> list[PhotoSet]:
    """Group points by their set; if a model has several, the first counts."""
    sets: dict[tuple[str, int | None], dict[str, Point]] = {}
    for key, point in found:
        sets.setdefault(key, {}).setdefault(point.card.id, point)
    return [PhotoSet(name, images, tuple(points.values())) for (name, images), points in sets.items()]
