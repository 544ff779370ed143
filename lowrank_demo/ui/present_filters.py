"""conv1's filters as pictures inside the page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from ..lowrank.filters import Filters

_COLUMNS = 16
_GAP = 1


def filters_view(filters: Filters) -> str:
    """Return three pictures with captions: the effective filters, ``V`` and ``U``."""
    outputs, rank = filters.u.shape[:2]
    tall, wide = filters.v.shape[2:]
    # U as rows of strips, one row for each of V's channels, one column for each output.
    strips = filters.u.transpose(1, 0, 2, 3).reshape(rank * outputs, 1, *filters.u.shape[2:]).repeat(3, axis=1)
    # One pixel high, the filters of scheme 2 would be lines.
    rows = filters.v.repeat(wide // 2, axis=2) if tall == 1 else filters.v
    pictures = (
        (
            filters.product,
            _COLUMNS,
            f"U · V: the {outputs} filters of 11 × 11 that the layer computes, combined from {rank} components",
        ),
        (rows, min(rank, _COLUMNS), f"V: {rank} filters of {tall} × {wide} on the photo's red, green and blue"),
        (strips, outputs, f"U: weights of V's {rank} channels (rows) in the {outputs} outputs (columns)"),
    )
    figures = (
        f'<figure><img alt="{caption}" src="{data_uri(_mosaic(tiles, columns))}">'
        f"<figcaption>{caption}</figcaption></figure>"
        for tiles, columns, caption in pictures
    )
    return f'<div class="lr-filters">{"".join(figures)}</div>'


def _mosaic(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Lay tiles, float [n, 3, h, w], side by side: uint8 [H, W, 4]; grey is zero, gaps are clear."""
    n, _, h, w = tiles.shape
    rows = -(-n // columns)
    # By the largest of all, where tiles are single values; else each by its own, or weak filters could not be seen.
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
