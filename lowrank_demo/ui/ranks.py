"""The *Ranks* tab: the rank that each layer kept, and what it costs."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import plotly.graph_objects as go

from ..charts.history import cost_history_figure, rank_history_figure
from ..charts.models import layer_summary, macs_figure, macs_summary, params_figure, ranks_figure
from ..errors import DataError, LowRankError
from ..lowrank.history import read_history
from ..models.cards import ModelCard
from ..serve.answers import Photo
from .events import QUIET
from .page import FIRST_PHOTO, Page
from .present import RANK_HEADERS, message, rank_rows
from .present_filters import MOVE, rank_view

_WHAT = (
    "### What a rank is\n"
    "A layer of rank r builds all its outputs from r patterns. Lower the rank of conv1, the first layer, and watch its "
    "filters lose detail."
)
# Gradio's own button leaves out the header.
_COPY = """async (table) => {
  const button = document.querySelector('#lr-ranks-copy'), rows = [table.headers, ...table.data];
  let said = 'Copied';
  try { await navigator.clipboard.writeText(rows.map((row) => row.join('\\t')).join('\\n') + '\\n'); }
  catch { said = 'The browser did not allow it'; }
  button.textContent = said;
  setTimeout(() => { button.textContent = 'Copy the table'; }, 3000);
}"""
_CRITERIA = {"flops": "FLOPs"}


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Choosing it draws conv1's filters."""
    chosen, other = page.chosen, page.other
    default = page.card(chosen.value)
    gr.Markdown(_WHAT)
    pictures = gr.HTML("", js_on_load=MOVE, elem_id="lr-conv1")
    other.render()
    summary = gr.Markdown(macs_summary(default, page.desk.service.zoo), elem_id="lr-cost")
    ranks = gr.Plot(ranks_figure(default), show_label=False, elem_id="lr-ranks-plot")
    with gr.Row():
        macs = gr.Plot(macs_figure(default), show_label=False, min_width=320)
        params = gr.Plot(params_figure(default), show_label=False, min_width=320)
    table = gr.Dataframe(
        rank_rows(default),
        headers=RANK_HEADERS,
        label="The chosen model in numbers",
        interactive=False,
        buttons=[],
        elem_id="lr-ranks-table",
    )
    copy = gr.Button("Copy the table", size="sm", elem_id="lr-ranks-copy")
    with gr.Column(visible=False, elem_id="lr-history") as history:
        gr.Markdown("### How these ranks were learned")
        note = gr.Markdown()
        with gr.Row():
            learned = gr.Plot(show_label=False, min_width=320, elem_id="lr-history-ranks")
            cost = gr.Plot(show_label=False, min_width=320, elem_id="lr-history-cost")

    def show(
        model: str, compared: str, layer: int | None
    ) -> tuple[str, go.Figure, go.Figure, go.Figure, list[list[str | int | float]]]:
        card = page.card(model)
        second = page.card(compared) if compared and compared != model else None
        zoo = page.desk.service.zoo
        text = macs_summary(card, zoo)
        if second:
            text = f"**{card.title}**: {text}\n\n**{second.title}**: {macs_summary(second, zoo)}"
        if layer is not None:
            text += f"\n\n{layer_summary(card.cost.layers[layer])}"
        return (
            text,
            ranks_figure(card, second, layer),
            macs_figure(card, second),
            params_figure(card, second),
            rank_rows(card),
        )

    def show_filters(model: str, path: str) -> str:
        try:
            photo = Photo.from_file(Path(path or FIRST_PHOTO))
            card = page.card(model)
            return rank_view(page.desk.inspection.filters_at_each_rank(card, photo), card.ranks[0])
        except LowRankError as error:
            return message(str(error))

    def show_history(model: str) -> tuple[gr.Column, str, go.Figure | None, go.Figure | None]:
        visible, text, ranks_by_step, cost_by_step = _history(page, page.card(model))
        return gr.Column(visible=visible), text, ranks_by_step, cost_by_step

    copy.click(None, table, None, js=_COPY, **QUIET)
    drawn = [summary, ranks, macs, params, table]
    page.when_open(
        tab, [chosen.change, other.change, page.layer.change], show, [chosen, other, page.layer], drawn, **QUIET
    )
    followed = [chosen.change, page.shown.change, page.ready.change]
    page.when_open(tab, followed, show_filters, [chosen, page.shown], [pictures], trigger_mode="always_last", **QUIET)
    page.when_open(tab, [chosen.change], show_history, [chosen], [history, note, learned, cost], **QUIET)


def _history(page: Page, card: ModelCard) -> tuple[bool, str, go.Figure | None, go.Figure | None]:
    """Return whether the model has a rank history, a sentence on it, and its figures."""
    if card.history is None:
        return False, "", None, None
    try:
        run = read_history(page.desk.service.zoo.folder / card.history)
    except DataError as error:
        return True, str(error), None, None
    criterion = _CRITERIA.get(run.criterion, run.criterion)
    text = (
        f"The LC algorithm in this model's own training run, with the {criterion} criterion: each C step chooses every "
        "layer's rank in closed form, and μ grows from step to step until the weights and their low-rank copies agree."
    )
    return True, text, rank_history_figure(run), cost_history_figure(run)
