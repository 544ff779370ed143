"""Where an answer comes from, as a picture: the photo stays lit where hiding it costs the answer most."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from ..classify.occlusion import Occlusion
from ..models.cards import ModelCard
from ..runtime.words import percent
from .present_filters import data_uri

_DARK = 0.25
_GRID = 15


def evidence_view(view: np.ndarray, cards: Sequence[ModelCard], found: Sequence[Occlusion]) -> str:
    """Return a picture for each model, with its answer.

    Args:
        view: The photo as the networks see it, uint8 [227, 227, 3].
        cards: The models.
        found: Each model's answer and where it comes from.
    """
    figures = "".join(_figure(view, escape(card.title), one) for card, one in zip(cards, found, strict=True))
    return f'<div class="lr-evidence">{figures}</div>'


def _figure(pixels: np.ndarray, title: str, found: Occlusion) -> str:
    answer = f"{escape(found.label.name)}, {percent(found.probability)}"
    most = float(found.weight.max())
    loses = (
        f"Hiding the brightest part lowers this by {100 * most:.0f} points."
        if most > 0.005
        else "No single part decides the answer."
    )
    return (
        f'<figure><img alt="Photo lit where {title} sees {answer}" '
        f'src="{data_uri(_lit(pixels, found.weight))}"><figcaption><b>{title}</b>: '
        f"{answer}. {loses}</figcaption></figure>"
    )


def _lit(pixels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the photo in full colour where the weight is largest, dark grey where there is none."""
    # Smooth the map, or the edges of its squares would show instead of the photo's.
    coarse = Image.fromarray(weight).resize((_GRID, _GRID), Image.Resampling.BOX)
    smooth = np.asarray(coarse.resize(weight.shape[::-1], Image.Resampling.BICUBIC))
    share = np.clip(smooth / max(float(smooth.max()), 1e-6), 0, 1)[..., None]
    dark = pixels.mean(axis=2, keepdims=True) * _DARK
    return (dark + (pixels - dark) * share).astype(np.uint8)
