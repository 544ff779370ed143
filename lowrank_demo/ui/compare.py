"""The *Compare* tab: the dropped photos against every model that is here, so that it shows where they part ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..errors import LowRankError
from ..models.cards import Zoo, short_name
from ..serve.service import Comparison, Photo
from .classify import photos_of
from .present import message
from .present_comparison import comparison_table

if TYPE_CHECKING:
    import torch

    from ..classify.occlusion import Occlusion

Items = list[tuple[str, str | None]] | None
Evidence = Callable[[Photo, Sequence[str]], "tuple[torch.Tensor, list[Occlusion]]"]

_WELCOME = (
    "Drop photos under Classify first: here every model whose weights are on this machine then says what it sees in "
    "each of them."
)
_EVIDENCE = "Parts of the photo are hidden in turn; it stays lit where that costs the answer most."
# One listener for whatever table is shown: a cell hands its model's id on as this component's click.
_LISTEN = """
element.addEventListener('click', (event) => {
  const cell = event.target.closest('[data-model]');
  if (cell) trigger('click', { model: cell.dataset.model });
});
"""


def build(
    zoo: Zoo,
    compare: Callable[[Sequence[Photo]], Comparison],
    evidence: Evidence,
    photos: gr.Gallery,
    tab: gr.Tab,
    max_photos: int,
) -> gr.HTML:
    """Build the tab.

    Args:
        zoo: The cards.
        compare: Photos to what every model says of them.
        evidence: A photo and model ids to where those models' answers come from.
        photos: The photos of the *Classify* tab.
        tab: This tab; choosing it compares.
        max_photos: Photos compared at once; the rest are left out, saying so.

    Returns:
        The table, whose ``click`` event carries ``model``, the id of the cell's model.
    """
    table = gr.HTML(message(_WELCOME, "lr-welcome"), js_on_load=_LISTEN, elem_id="lr-comparison")
    with gr.Column(visible=False, elem_id="lr-evidence") as section:
        gr.Markdown(f"### Where the answers come from\n{_EVIDENCE}")
        with gr.Row():
            photo = gr.Dropdown(
                [], label="Photo", info="One of those above.", type="index", elem_id="lr-evidence-photo"
            )
            one = gr.Dropdown(
                [], label="Model", info="At first the least compressed.", min_width=220, elem_id="lr-evidence-one"
            )
            other = gr.Dropdown(
                [], label="Beside it", info="At first the most compressed.", elem_id="lr-evidence-other"
            )
        ask = gr.Button("Show where the answers come from", elem_id="lr-evidence-show")
        pictures = gr.HTML("", elem_id="lr-evidence-pictures")

    def show(items: Items) -> dict[Any, Any]:
        taken = photos_of(items)[:max_photos]
        if not taken:
            return {table: message(_WELCOME, "lr-welcome"), section: gr.Column(visible=False)}
        try:
            found = compare(taken)
        except LowRankError as error:
            return {table: message(str(error)), section: gr.Column(visible=False)}
        models = [(short_name(card).capitalize(), card.id) for card in found.cards]
        names = [f"{number}. {item.name}" for number, item in enumerate(taken, 1)]
        return {
            table: comparison_table(taken, found, len(items or [])),
            section: gr.Column(visible=bool(models)),
            photo: gr.Dropdown(names, value=names[0]),
            one: gr.Dropdown(models, value=models[0][1] if models else None),
            other: gr.Dropdown(models, value=models[-1][1] if models else None),
            pictures: "",
        }

    def explain(items: Items, index: int | None, *models: str | None) -> str:
        from ..classify.occlusion import shown_pixels
        from .present_evidence import evidence_view

        taken = photos_of(items)[:max_photos]
        if index is None or index >= len(taken):
            return message("That photo is no longer there: choose this tab again.")
        asked = list(dict.fromkeys(model for model in models if model))
        try:
            pixels, found = evidence(taken[index], asked)
            return evidence_view(shown_pixels(pixels), [zoo.get(model) for model in asked], found)
        except LowRankError as error:
            return message(str(error))

    gr.on(
        tab.select,
        show,
        photos,
        [table, section, photo, one, other, pictures],
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_limit=1,
        show_progress_on=table,
    )
    ask.click(
        explain,
        [photos, photo, one, other],
        pictures,
        api_visibility="private",
        concurrency_limit=1,
        show_progress_on=pictures,
    )
    return table
