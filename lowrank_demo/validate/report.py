"""The report of a validation, for people and for programs. No torch."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from ..data.imagenet import classes
from ..models.cards import ModelCard
from ..runtime.interval import half_width
from ..runtime.words import counted
from .sums import LOSS_UNIT, Sums

_PAIRS = 20
_LISTED = 1000


@dataclass(frozen=True)
class ModelResult:
    """One model's errors in percent; None before the first image."""

    card: ModelCard
    count: int
    top1_error: float | None
    top5_error: float | None
    loss: float | None
    """Mean cross-entropy, in nats."""

    @property
    def margins(self) -> tuple[float, float] | None:
        """By how much the choice of photos may change the top-1 and top-5 error, in percentage points: the ± of each.

        None before the first image.
        """
        if self.top1_error is None or self.top5_error is None:
            return None
        return half_width(self.top1_error, self.count), half_width(self.top5_error, self.count)

    @property
    def differences(self) -> tuple[float, float] | None:
        """Measured minus published top-1 and top-5 error in percentage points; None without published errors."""
        if self.card.published is None or self.top1_error is None or self.top5_error is None:
            return None
        return self.top1_error - self.card.published.top1, self.top5_error - self.card.published.top5


@dataclass(frozen=True)
class Conditions:
    """What a pass was computed with. Under other conditions a few images may be classified differently."""

    decoder: str
    device: str
    engine: str
    precision: str

    def __str__(self) -> str:
        return f"decoded by {self.decoder}, computed by {self.engine} in {self.precision} on {self.device}"


@dataclass(frozen=True)
class Report:
    """The result of a pass, or of the part that was done before it was stopped."""

    file: str
    total: int
    """Records in the file."""
    count: int
    """Images classified."""
    unreadable: tuple[tuple[int, str], ...]
    models: tuple[ModelResult, ...]
    images_per_second: float
    """Rate of this run; 0 if an earlier run had measured everything."""
    complete: bool
    class_count: Mapping[int, int]
    class_right: Mapping[str, tuple[Mapping[int, int], Mapping[int, int]]]
    """Model id -> images of each class right at top-1 and top-5."""
    confused: Mapping[str, tuple[tuple[int, int, int], ...]]
    """Model id -> (true class, predicted class, images), the most frequent first."""
    conditions: Conditions
    left_out: tuple[tuple[str, str], ...] = ()
    """Ids of models that could not be loaded, and why: the others were measured."""
    measured_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc), compare=False)
    """When it was made."""

    @property
    def date(self) -> str:
        """The date and time for people, in UTC."""
        return f"{self.measured_at:%Y-%m-%d %H:%M} UTC"

    @property
    def rate(self) -> str:
        """The rate in words."""
        rate = self.images_per_second
        if not rate:
            return "all measured before" if self.count else "none measured"
        return f"{rate:,.{int(rate < 100)}f} images/s"


def model_results(sums: Sums, cards: Sequence[ModelCard]) -> tuple[ModelResult, ...]:
    """Return the errors so far. Cheap enough to call after every batch."""
    count = sums.count
    return tuple(
        ModelResult(
            card,
            count,
            _percent_wrong(int(sums.models[card.id].class_top1.sum()), count),
            _percent_wrong(int(sums.models[card.id].class_top5.sum()), count),
            sums.models[card.id].loss * LOSS_UNIT / count if count else None,
        )
        for card in cards
    )


def make_report(
    file: str,
    total: int,
    sums: Sums,
    cards: Sequence[ModelCard],
    images_per_second: float,
    conditions: Conditions,
    left_out: Sequence[tuple[str, str]] = (),
) -> Report:
    """Build the report of a pass in its present state."""
    seen = [int(i) for i in np.flatnonzero(sums.class_count)]
    return Report(
        file=file,
        total=total,
        count=sums.count,
        unreadable=tuple((item.index, item.reason) for item in sums.unreadable),
        models=model_results(sums, cards),
        images_per_second=images_per_second,
        complete=sums.position == total,
        class_count={i: int(sums.class_count[i]) for i in seen},
        class_right={
            card.id: (
                {i: int(sums.models[card.id].class_top1[i]) for i in seen},
                {i: int(sums.models[card.id].class_top5[i]) for i in seen},
            )
            for card in cards
        },
        confused={card.id: _most_confused(sums.models[card.id].confused) for card in cards},
        conditions=conditions,
        left_out=tuple(left_out),
    )


def report_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values. It counts all unreadable records and lists the first 1000."""
    labels = classes()
    return {
        "file": report.file,
        "measured_at": report.measured_at.isoformat(timespec="seconds"),
        "total": report.total,
        "complete": report.complete,
        "count": report.count,
        "unreadable": len(report.unreadable),
        "unreadable_records": [{"index": i, "reason": reason} for i, reason in report.unreadable[:_LISTED]],
        "images_per_second": report.images_per_second,
        "conditions": dataclasses.asdict(report.conditions),
        "models": [result_json(result) for result in report.models],
        "left_out": [{"id": model, "reason": why} for model, why in report.left_out],
        "per_class_errors": {
            model: [
                {
                    "index": i,
                    "synset": labels[i].synset,
                    "name": labels[i].name,
                    "count": number,
                    "top1_error": _percent_wrong(top1[i], number),
                    "top5_error": _percent_wrong(top5[i], number),
                }
                for i, number in report.class_count.items()
            ]
            for model, (top1, top5) in report.class_right.items()
        },
        "most_confused": {
            model: [
                {"true": labels[true].name, "predicted": labels[predicted].name, "count": number}
                for true, predicted, number in pairs
            ]
            for model, pairs in report.confused.items()
        },
    }


def result_json(result: ModelResult) -> dict[str, Any]:
    """Return one model's measured errors beside the published ones, as JSON values."""
    card, differences, margins = result.card, result.differences, result.margins
    statistics = card.weights.statistics
    return {
        "id": card.id,
        "count": result.count,
        "top1_error": result.top1_error,
        "top5_error": result.top5_error,
        "loss": result.loss,
        "published_top1_error": card.published.top1 if card.published else None,
        "published_top5_error": card.published.top5 if card.published else None,
        "top1_difference": differences[0] if differences else None,
        "top5_difference": differences[1] if differences else None,
        "weights_sha256": card.weights.sha256,
        "statistics_sha256": statistics.sha256 if statistics and card.truncated_from else None,
        "top1_margin": margins[0] if margins else None,
        "top5_margin": margins[1] if margins else None,
    }


def report_csv(report: Report) -> str:
    """Return the report as CSV, one line for each model."""
    about = {"file": report.file, "measured_at": report.measured_at.isoformat(timespec="seconds")}
    rows = [result_json(result) | about for result in report.models]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return file.getvalue()


def _cell(value: object) -> object:
    """Return a value for a table; a spreadsheet would compute a text that begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def report_text(report: Report) -> str:
    """Return the report as a table for the terminal, measured beside published errors."""
    width = max(24, *(len(result.card.id) for result in report.models))
    lines = [
        f"{'model':{width}} {'images':>8}  {'top-1 error %':^26}  {'top-5 error %':^26}  {'loss':>7}",
        f"{'':{width}} {'':8}  {'measured published    diff':26}  {'measured published    diff':26}",
    ]
    for result in report.models:
        published, differences = result.card.published, result.differences or (None, None)
        lines.append(
            f"{result.card.id:{width}} {result.count:8}  "
            f"{_figures(result.top1_error, published.top1 if published else None, differences[0])}  "
            f"{_figures(result.top5_error, published.top5 if published else None, differences[1])}  "
            f"{'–' if result.loss is None else f'{result.loss:.4f}':>7}"
        )
    state = "" if report.complete else f" (stopped: {counted(report.total, 'record')} in the file)"
    lines.append(f"{counted(report.count, 'image')} of {report.file}{state}, {report.rate}, {report.conditions}")
    lines += [f"{model} was left out: {why}" for model, why in report.left_out]
    if report.unreadable:
        count, reasons = len(report.unreadable), "; ".join(f"{i}: {reason}" for i, reason in report.unreadable[:5])
        lines.append(f"{counted(count, 'record')} could not be read: {reasons}{' …' * (count > 5)}")
    return "\n".join(lines)


def disagreements(report: Report, tolerance: float) -> list[str]:
    """Return a sentence for each model whose measured error is over ``tolerance`` points from the published one."""
    return [
        f"{result.card.id}: top-1 differs by {result.differences[0]:+.2f} and top-5 by {result.differences[1]:+.2f} "
        f"percentage points; expected at most {tolerance:g}."
        for result in report.models
        if result.differences and max(map(abs, result.differences)) > tolerance
    ]


def dump_json(report: Report) -> str:
    """Return the report as JSON text."""
    return json.dumps(report_json(report), indent=1)


def _figures(measured: float | None, published: float | None, difference: float | None) -> str:
    def text(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    return f"{text(measured, '.2f'):>8} {text(published, '.2f'):>9} {text(difference, '+.2f'):>7}"


def _percent_wrong(right: int, count: int) -> float | None:
    return 100 * (count - right) / count if count else None


def _most_confused(confused: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    true, predicted = np.nonzero(confused)
    wrong = true != predicted
    true, predicted = true[wrong], predicted[wrong]
    number = confused[true, predicted]
    order = np.argsort(-number, kind="stable")[:_PAIRS]
    return tuple((int(true[i]), int(predicted[i]), int(number[i])) for i in order)
