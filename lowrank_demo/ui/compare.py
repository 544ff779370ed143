"""The *Compare* tab: the dropped photos against every model that is here, so that it shows where they part ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradio as gr

from ..errors import LowRankError
from ..service import Comparison, Photo
from .classify import photos_of
from .present import message
from .present_comparison import comparison_table

_WELCOME = (
    "Drop photos under Classify first: here every model whose weights are on this machine then says what it sees in "
    "each of them."
)
# One listener for whatever table is shown: a cell hands its model's id on as this component's click.
_LISTEN = """
element.addEventListener('click', (event) => {
  const cell = event.target.closest('[data-model]');
  if (cell) trigger('click', { model: cell.dataset.model });
});
"""


def build(
    compare: Callable[[Sequence[Photo]], Comparison], photos: gr.Gallery, tab: gr.Tab, max_photos: int
) -> gr.HTML:
    """Build the tab.

    Args:
        compare: Photos to what every model says of them.
        photos: The photos of the *Classify* tab.
        tab: This tab; choosing it compares.
        max_photos: Photos compared at once; the rest are left out, saying so.

    Returns:
        The table, whose ``click`` event carries ``model``, the id of the cell's model.
    """
    table = gr.HTML(message(_WELCOME, "lr-welcome"), js_on_load=_LISTEN, elem_id="lr-comparison")

    def show(items: list[tuple[str, str | None]] | None) -> str:
        taken = photos_of(items)[:max_photos]
        if not taken:
            return message(_WELCOME, "lr-welcome")
        try:
            return comparison_table(taken, compare(taken), len(items or []))
        except LowRankError as error:
            return message(str(error))

    gr.on(
        tab.select,
        show,
        photos,
        table,
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_limit=1,
        show_progress_on=table,
    )
    return table
