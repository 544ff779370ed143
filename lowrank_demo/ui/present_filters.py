"""conv1's filters as pictures inside the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..runtime.words import percent

if TYPE_CHECKING:
    from ..lowrank.filters import FiltersAtRank

_COLUMNS = 16
_GAP = 1
_MAPS = 12


MOVE = """
const cut = (box, rank) => {
  const step = JSON.parse(box.dataset.steps)[rank - 1], input = box.querySelector('input');
  box.querySelectorAll('.lr-sigma rect').forEach((bar, number) => bar.classList.toggle('lr-cut-off', number >= rank));
  box.querySelectorAll('img').forEach((image, number) => { image.src = step.pictures[number]; });
  box.querySelector('output').textContent = step.text;
  input.value = rank;
  input.setAttribute('aria-valuetext', step.text);
};
element.addEventListener('input', ({ target }) => {
  if (target.matches('.lr-rank input')) cut(target.closest('.lr-rank'), Number(target.value));
});
const drag = (event) => {
  const curve = event.target.closest('.lr-sigma');
  if (!curve || !event.buttons) return;
  const { left, width } = curve.getBoundingClientRect(), most = curve.children.length;
  const rank = 1 + Math.floor((event.clientX - left) / width * most);
  cut(curve.closest('.lr-rank'), Math.min(most, Math.max(1, rank)));
};
element.addEventListener('pointerdown', (event) => {
  const curve = event.target.closest('.lr-sigma');
  if (!curve) return;
  // The drag goes on outside of the curve.
  curve.setPointerCapture(event.pointerId);
  drag(event);
});
element.addEventListener('pointermove', drag);
"""
"""Script of the component that holds :func:`rank_view`."""


def rank_view(steps: Sequence[FiltersAtRank], rank: int) -> str:
    """Return conv1 with a slider for its rank: its filters, and what they find in a photo.

    Args:
        steps: The layer cut to each rank, from 1 to its own.
        rank: Where the slider stands at first.
    """
    first = min(max(rank, 1), len(steps)) - 1
    dense = steps[-1].filters.size
    shown = np.argsort(-steps[-1].maps.mean((1, 2)))[:_MAPS]
    brightest = float(np.quantile(steps[-1].maps[shown], 0.995))
    data = [
        {
            "text": f"Rank {one.rank}: {one.numbers:,} weights in place of {dense:,}; "
            f"{percent(one.energy)} of the layer's energy.",
            "pictures": [
                data_uri(_mosaic(one.filters, _COLUMNS)),
                data_uri(_grey_mosaic(one.maps[shown] / max(brightest, 1e-6), _MAPS // 2)),
            ],
        }
        for one in steps
    ]
    captions = (
        f"The {len(steps[-1].filters)} filters of 11 × 11 that conv1 computes",
        f"What the {_MAPS} busiest of them find in the photo",
    )
    figures = "".join(
        f'<figure><img alt="{caption}" src="{picture}"><figcaption>{caption}</figcaption></figure>'
        for caption, picture in zip(captions, data[first]["pictures"], strict=True)
    )
    return (
        f'<div class="lr-rank" data-steps="{escape(json.dumps(data))}">{_singular_values(steps, first + 1)}'
        f"<label>Rank of conv1, 1 to {len(steps)}"
        f'<input type="range" min="1" max="{len(steps)}" value="{first + 1}"></label>'
        f"<output>{data[first]['text']}</output><div>{figures}</div></div>"
    )


def _singular_values(steps: Sequence[FiltersAtRank], rank: int) -> str:
    """Return conv1's singular values as bars, along which the cut is dragged."""
    high = 60
    energies = [0.0, *(one.energy for one in steps)]
    values = np.sqrt(np.maximum(np.diff(energies), 0))
    bars = "".join(
        f'<rect class="{"lr-cut-off" if number >= rank else ""}" x="{number + 0.1:.1f}" y="{high * (1 - value):.1f}" '
        f'width="0.8" height="{high * value:.1f}"/>'
        for number, value in enumerate(values / max(values.max(), 1e-12))
    )
    words = "Singular values of conv1, the largest first: drag across them to cut"
    return (
        f'<svg class="lr-sigma" viewBox="0 0 {len(steps)} {high}" preserveAspectRatio="none" role="img" '
        f'aria-label="{words}">{bars}</svg><small>{words}.</small>'
    )


def _grey_mosaic(maps: np.ndarray, columns: int) -> np.ndarray:
    """Lay maps, float [n, h, w] from 0 to 1, side by side: uint8 [H, W, 3]."""
    shades = (255 * np.clip(maps, 0, 1)).astype(np.uint8)
    rows = [np.concatenate(list(shades[start : start + columns]), 1) for start in range(0, len(shades), columns)]
    return np.repeat(np.concatenate(rows, 0)[..., None], 3, axis=2)


def _mosaic(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Lay tiles, float [n, 3, h, w], side by side: uint8 [H, W, 4]; grey is zero, gaps are clear."""
    n, _, h, w = tiles.shape
    rows = -(-n // columns)
    # Scale single values by the largest of all. Scale larger tiles each by its own, or weak filters would not show.
    each = np.abs(tiles).max(axis=(1, 2, 3), keepdims=True) if h * w > 1 else np.abs(tiles).max()
    shades = np.round(127.5 + 127.5 * tiles / np.maximum(each, 1e-12)).astype(np.uint8)
    canvas = np.zeros((rows * (h + _GAP) - _GAP, columns * (w + _GAP) - _GAP, 4), np.uint8)
    for index, tile in enumerate(shades):
        y, x = (index // columns) * (h + _GAP), (index % columns) * (w + _GAP)
        canvas[y : y + h, x : x + w, :3] = tile.transpose(1, 2, 0)
        canvas[y : y + h, x : x + w, 3] = 255
    return canvas


def data_uri(pixels: np.ndarray) -> str:
    """Return uint8 [h, w, 3 or 4] as the address of a PNG inside the page."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
