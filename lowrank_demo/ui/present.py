"""Values as people see them: labels, HTML fragments, table rows. All text from outside is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import ImageError
from ..models.cards import ModelCard
from ..runtime.words import percent
from ..serve.answers import Comparison, Photo

if TYPE_CHECKING:
    import numpy as np

    from ..classify.inference import Prediction, Time


_EDGE = 144
"""Edge of a picture in pixels. The page shows it with at most 116, and with 44 in a row."""


def result_cards(photos: Sequence[Photo], answers: Comparison) -> str:
    """Return a hidden card for each photo: its name, and the five likeliest classes as bars or one sentence.

    The page shows the card of the selected photo, with the picture from that photo's row.

    Args:
        photos: The photos.
        answers: The models' answers to them; the cards are of the first model.
    """
    parts = zip(photos, answers.answers[0], strict=True)
    return f'<div class="lr-results">{"".join(_result_card(*part) for part in parts)}</div>'


def _result_card(photo: Photo, answer: Prediction | ImageError) -> str:
    name = escape(photo.name)
    if isinstance(answer, ImageError):
        return (
            f'<article class="lr-card lr-refused" hidden><header>{name}</header><p>{escape(str(answer))}</p></article>'
        )
    bars = "".join(
        f'<li title="{escape(guess.label.synset)}, class {guess.label.index}">'
        f'<span class="lr-name">{escape(guess.label.name)}</span>'
        f'<span class="lr-share">{percent(guess.probability)}</span>'
        f'<i style="width:{max(guess.probability, 0.004):.2%}"></i></li>'
        for guess in answer.top
    )
    times = answer.timings
    return (
        f'<article class="lr-card" hidden><img alt=""><div><header>{name}</header><ol>{bars}</ol>'
        f"<footer>decoded by {escape(answer.decoder)} in {_time_text(times.decode)} · network on "
        f"{escape(answer.device)} {_time_text(times.network)}</footer></div></article>"
    )


def _time_text(time: Time) -> str:
    """Return the time of one image, and say so if it is only a share of a batch's time."""
    return f"{time.milliseconds:.1f} ms" + (f" (its share of {time.images} photos)" if time.images > 1 else "")


def thumbnail(view: np.ndarray | None) -> str:
    """Return a photo as the networks see it, inside the page: nothing is decoded again, and no file needs serving."""
    if view is None:
        return ""
    return f'<img alt="" src="{picture_uri(view, _EDGE)}">'


def picture_uri(view: np.ndarray, edge: int) -> str:
    """Return a picture, uint8 [h, w, 3], as the data: address of a square WebP of ``edge`` pixels."""
    file = io.BytesIO()
    Image.fromarray(view).resize((edge, edge), Image.Resampling.BILINEAR).save(file, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def message(text: str, kind: str = "lr-message") -> str:
    """Return one sentence to show in place of results."""
    return f'<p class="{kind}" role="status">{escape(text)}</p>'


RANK_HEADERS = ["layer", "rank", "full rank", "V shape", "U shape", "V MFLOPs", "U MFLOPs", "V params", "U params"]


def rank_rows(card: ModelCard) -> list[list[str | int | float]]:
    """Return the rows of the *Ranks* tab's table, with a row of totals."""
    rows: list[list[str | int | float]] = [
        [
            cost.layer.name,
            cost.rank,
            cost.full_rank,
            "×".join(map(str, cost.v.weight_shape)),
            "×".join(map(str, cost.u.weight_shape)),
            round(cost.v.macs / 1e6, 3),
            round(cost.u.macs / 1e6, 3),
            cost.v.params,
            cost.u.params,
        ]
        for cost in card.cost.layers
    ]
    layers = card.cost.layers
    total: list[str | int | float] = [
        "total",
        sum(cost.rank for cost in layers),
        sum(cost.full_rank for cost in layers),
        "",
        "",
        round(sum(cost.v.macs for cost in layers) / 1e6, 3),
        round(sum(cost.u.macs for cost in layers) / 1e6, 3),
        sum(cost.v.params for cost in layers),
        sum(cost.u.params for cost in layers),
    ]
    return [*rows, total]
