"""Several models' answers to the same photos, side by side. All text from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ImageError
from ..models.cards import ModelCard
from ..models.zoo import Zoo
from ..runtime.words import percent
from ..serve.answers import Comparison, Photo
from .present import result_cards, thumbnail

if TYPE_CHECKING:
    import numpy as np

    from ..classify.inference import Prediction

    Answer: TypeAlias = Prediction | ImageError

_EVIDENCE = "Each part of the photo is hidden in turn. The parts that the answer depends on most stay bright."


def photos_view(
    zoo: Zoo, photos: Sequence[Photo], comparison: Comparison, chosen: ModelCard, keys: Sequence[tuple[str, str]]
) -> str:
    """Return the table of all photos and each photo's own card. Only the card of the selected photo is visible.

    Args:
        zoo: Has the models' MFLOPs.
        photos: The photos that were compared.
        comparison: The models' answers.
        chosen: The chosen model. Its answers come first, and the cards are its own, if it was compared.
        keys: Two keys of each photo: which photo it is, and which evidence belongs to it.
    """
    ordered = _chosen_first(comparison, chosen)
    rows = list(zip(*ordered.answers, strict=True))
    unlike = [_differ(row) for row in rows]
    table = "".join(
        _row(photo, view, ordered.cards, row, key, differs)
        for photo, view, row, key, differs in zip(photos, ordered.views, rows, keys, unlike, strict=True)
    )
    return (
        f'<div class="ph-all">{_filter(ordered.cards, unlike)}'
        '<div class="ph-list" tabindex="0" role="region" aria-label="Answers to all photos">'
        f'<table class="ph-table"><thead><tr><th scope="col">Photo</th>{_heads(zoo, ordered, chosen)}</tr></thead>'
        f"<tbody>{table}</tbody></table></div></div>"
        '<aside class="ph-one" aria-label="The selected photo">'
        f'<p class="lr-note">{_whose(ordered, chosen)}</p>{result_cards(photos, ordered)}'
        f'<section class="ph-why"><h3>Where the answers come from</h3><p class="lr-note">{_EVIDENCE}</p>'
        '<div class="ph-evidence" role="status"></div></section></aside>'
    )


def comparison_grid(zoo: Zoo, photos: Sequence[Photo], comparison: Comparison) -> str:
    """Return a table to read: photos as rows, models as columns; answers unlike the first column's are marked."""
    rows = "".join(
        f'<tr><th scope="row">{thumbnail(comparison.views[number])}<span>{escape(photo.name)}</span></th>'
        + "".join(f"<td>{_text(answers[number], comparison.answers[0][number])}</td>" for answers in comparison.answers)
        + "</tr>"
        for number, photo in enumerate(photos)
    )
    return (
        '<div class="lr-scroll" tabindex="0" role="region" aria-label="Comparison">'
        f'<table class="lr-grid"><thead><tr><th scope="col">Photo</th>{_heads(zoo, comparison, None)}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _chosen_first(comparison: Comparison, chosen: ModelCard) -> Comparison:
    order = sorted(range(len(comparison.cards)), key=lambda i: comparison.cards[i].id != chosen.id)
    return Comparison(
        tuple(comparison.cards[i] for i in order), tuple(comparison.answers[i] for i in order), comparison.views
    )


def _filter(cards: Sequence[ModelCard], unlike: Sequence[bool]) -> str:
    if len(cards) == 1:
        return '<p class="lr-note">Only one model is ready: download another above to compare it.</p>'
    return (
        '<p class="ph-filter"><label><input type="checkbox"> Only where they disagree '
        f"<small>({sum(unlike)} of {len(unlike)})</small></label>"
        '<span class="lr-note">≠ marks an answer unlike the first model’s. Click an answer to choose its model.'
        "</span></p>"
        '<p class="ph-none lr-note">All models agree on every photo.</p>'
    )


def _whose(comparison: Comparison, chosen: ModelCard) -> str:
    first = comparison.cards[0]
    title = escape(first.title)
    which = "" if first.id == chosen.id else ", the first model that is ready,"
    return f"What {title}{which} says of the selected photo:"


def _heads(zoo: Zoo, comparison: Comparison, chosen: ModelCard | None) -> str:
    first = comparison.answers[0]
    return "".join(
        _head(zoo, card, answers, first, chosen)
        for card, answers in zip(comparison.cards, comparison.answers, strict=True)
    )


def _head(
    zoo: Zoo, card: ModelCard, answers: Sequence[Answer], first: Sequence[Answer], chosen: ModelCard | None
) -> str:
    facts = [] if card.truncated_from else [f"{zoo.mflops(card)} MFLOPs"]
    if chosen and card.id == chosen.id:
        facts.append("chosen")
    if answers is not first:
        compared = [(a, b) for a, b in zip(answers, first, strict=True) if not isinstance(a, ImageError)]
        facts.append(f"agrees on {sum(_label(a) == _label(b) for a, b in compared)} of {len(compared)}")
    return f'<th scope="col">{escape(card.title)}<small>{" · ".join(facts)}</small></th>'


def _row(
    photo: Photo,
    view: np.ndarray | None,
    cards: Sequence[ModelCard],
    answers: Sequence[Answer],
    key: tuple[str, str],
    differs: bool,
) -> str:
    first = answers[0]
    name = escape(photo.name)
    if isinstance(first, ImageError):
        note = ""
        cells = f'<td class="ph-off" colspan="{len(cards)}">{escape(str(first))}</td>'
    else:
        time = first.timings.decode
        share = f" (share of {time.images})" if time.images > 1 else ""
        note = f"<small>decoded in {time.milliseconds:.1f} ms{share}</small>"
        cells = "".join(_cell(card, answer, first) for card, answer in zip(cards, answers, strict=True))
    evidence = "" if isinstance(first, ImageError) else key[1]
    return (
        f'<tr class="{"ph-differs" if differs else "ph-same"}" data-photo="{key[0]}" data-evidence="{evidence}">'
        f'<th scope="row"><button type="button" class="ph-pick" aria-pressed="false" title="{name}">'
        f"{thumbnail(view) or '<i></i>'}<span>{name}{note}</span></button></th>{cells}</tr>"
    )


def _cell(card: ModelCard, answer: Answer, first: Answer) -> str:
    return (
        f'<td><button type="button" data-model="{escape(card.id)}" title="Choose {escape(card.title)}">'
        f"{_text(answer, first)}</button></td>"
    )


def _text(answer: Answer, first: Answer) -> str:
    """Return the likeliest class and its probability, with a mark if the first model says otherwise."""
    if isinstance(answer, ImageError):
        return f'<span class="lr-off" title="{escape(str(answer))}">cannot be read</span>'
    best = answer.top[0]
    mark = "" if _label(answer) == _label(first) else '<b class="lr-unlike" aria-label="differs">≠</b> '
    return f"<span>{mark}{escape(best.label.name)}</span><small>{percent(best.probability)}</small>"


def _differ(answers: Sequence[Answer]) -> bool:
    return len({_label(answer) for answer in answers}) > 1


def _label(answer: Answer) -> int | None:
    return None if isinstance(answer, ImageError) else answer.top[0].label.index
