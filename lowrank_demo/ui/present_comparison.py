"""A comparison of models as a table. All text from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..models.cards import ModelCard, short_name
from ..serve.answers import Comparison, Photo
from .present import message, thumbnail

if TYPE_CHECKING:
    from ..classify.inference import Prediction


def comparison_table(photos: Sequence[Photo], comparison: Comparison, dropped: int) -> str:
    """Return a note and the table: photos as rows, every model that is ready as a column, the least compressed first.

    Args:
        photos: The photos that were compared.
        comparison: The models' answers.
        dropped: How many photos were dropped on the page.
    """
    text = (
        "Every model that is ready, the least compressed first. ≠ marks an answer unlike the first column's; a "
        "click on an answer opens that model under Classify."
    )
    if len(comparison.cards) == 1:
        text = (
            "Only one model is ready, so there is nothing to compare it with: choose another on the left to "
            "download it."
        )
    if dropped > len(photos):
        text = f"{dropped} photos were dropped; the first {len(photos)} are compared. {text}"
    return message(text, "lr-note") + comparison_grid(photos, comparison)


def comparison_grid(photos: Sequence[Photo], comparison: Comparison) -> str:
    """Return the table: photos as rows, models as columns; answers unlike the least compressed model's are marked."""
    columns = list(zip(comparison.cards, comparison.answers, strict=True))
    first = comparison.answers[0] if columns else ()
    head = "".join(_head(card, answers, first) for card, answers in columns)
    rows = "".join(
        f'<tr><th scope="row">{thumbnail(comparison.views[number])}<span>{escape(photo.name)}</span></th>'
        + "".join(_cell(card, answers[number], first[number]) for card, answers in columns)
        + "</tr>"
        for number, photo in enumerate(photos)
    )
    return (
        '<div class="lr-scroll" tabindex="0" role="region" aria-label="Comparison">'
        f'<table class="lr-grid"><thead><tr><th scope="col">photo</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _head(card: ModelCard, answers: Sequence[Prediction | ImageError], first: Sequence[Prediction | ImageError]) -> str:
    compared = [(a, b) for a, b in zip(answers, first, strict=True) if not isinstance(a, ImageError)]
    same = sum(_label(a) == _label(b) for a, b in compared)
    agrees = "" if answers is first else f"<small>agrees on {same} of {len(compared)}</small>"
    return (
        f'<th scope="col">{escape(short_name(card)).capitalize()}'
        f"<small>{card.cost.macs / 1e6:.0f} MFLOPs</small>{agrees}</th>"
    )


def _cell(card: ModelCard, answer: Prediction | ImageError, first: Prediction | ImageError) -> str:
    if isinstance(answer, ImageError):
        return f'<td class="lr-off" title="{escape(str(answer))}">cannot be read</td>'
    best = answer.top[0]
    differs = _label(answer) != _label(first)
    mark = '<b aria-label="differs from the least compressed model">≠</b> ' if differs else ""
    return (
        f'<td><button type="button" data-model="{escape(card.id)}" class="{"lr-differs" if differs else "lr-same"}">'
        f"{mark}{escape(best.label.name)}<small>{best.probability:.0%}</small></button></td>"
    )


def _label(answer: Prediction | ImageError) -> int | None:
    return None if isinstance(answer, ImageError) else answer.top[0].label.index
