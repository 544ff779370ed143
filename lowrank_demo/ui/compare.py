"""The *Compare* tab: every ready model's answers to the dropped photos, and where in a photo they come from."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..errors import LowRankError
from ..models.cards import short_name
from ..serve.places import MAX_MODELS
from .events import QUIET
from .page import Items, Page, photos_of
from .present import message
from .present_comparison import comparison_table
from .present_evidence import evidence_view

_WELCOME = message(
    "Drop photos above first. This tab then shows every answer of the models that are on this machine.",
    "lr-welcome",
)
_EVIDENCE = "Each part of the photo is hidden in turn. The parts that the answer depends on most stay bright."
# One listener for every table that is shown: a click on a cell passes its model's id on.
_LISTEN = """
element.addEventListener('click', (event) => {
  const cell = event.target.closest('[data-model]');
  if (cell) trigger('click', { model: cell.dataset.model });
});
"""


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Choosing it compares."""
    service, inspection = page.desk.service, page.desk.inspection
    max_photos = service.settings.max_photos
    table = gr.HTML(_WELCOME, js_on_load=_LISTEN, elem_id="lr-comparison")
    with gr.Column(visible=False, elem_id="lr-evidence") as section:
        gr.Markdown(f"### Where the answers come from\n{_EVIDENCE}")
        with gr.Row():
            photo = gr.Dropdown(
                [], label="Photo", info="One of the photos above.", type="index", elem_id="lr-evidence-photo"
            )
            one = gr.Dropdown(
                [], label="Model", info="Starts with the least compressed.", min_width=220, elem_id="lr-evidence-one"
            )
            other = gr.Dropdown(
                [], label="Second model", info="Starts with the most compressed.", elem_id="lr-evidence-other"
            )
        ask = gr.Button("Show where the answers come from", elem_id="lr-evidence-show")
        pictures = gr.HTML("", elem_id="lr-evidence-pictures")

    def compare(items: Items) -> dict[Any, Any]:
        taken = photos_of(items)[:max_photos]
        if not taken:
            return {table: _WELCOME, section: gr.Column(visible=False)}
        try:
            found = service.compare(taken, service.ready_models()[:MAX_MODELS])
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
        taken = photos_of(items)[:max_photos]
        if index is None or index >= len(taken):
            return message("That photo is no longer there: choose this tab again.")
        try:
            cards = [page.card(model) for model in dict.fromkeys(models) if model]
            view, found = inspection.evidence(taken[index], cards)
        except LowRankError as error:
            return message(str(error))
        return evidence_view(view, cards, found)

    def open_model(event: gr.EventData) -> dict[Any, Any]:
        return page.choose(page.card(str(event.model)))

    gr.on(
        tab.select,
        compare,
        page.photos,
        [table, section, photo, one, other, pictures],
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_limit=1,
        show_progress_on=table,
    )
    ask.click(
        explain,
        [page.photos, photo, one, other],
        pictures,
        api_visibility="private",
        concurrency_limit=1,
        show_progress_on=pictures,
    )
    table.click(open_model, None, [page.stage, page.chosen], **QUIET)
