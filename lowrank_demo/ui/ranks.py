"""The *Ranks* tab: what rank each layer kept and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gradio as gr
import plotly.graph_objects as go

from ..charts.history import cost_history_figure, rank_history_figure
from ..charts.models import macs_figure, macs_summary, params_figure, ranks_figure
from ..errors import DataError, LowRankError
from ..lowrank.history import read_history
from ..models.cards import ModelCard, Zoo
from .present import RANK_HEADERS, message, rank_rows
from .present_filters import filters_view

if TYPE_CHECKING:
    from ..lowrank.filters import Filters

_NONE = ""
_CRITERIA = {"flops": "FLOPs"}


def build(
    zoo: Zoo, chosen: gr.Radio, default: ModelCard, tab: gr.Tab, filters: Callable[[str], Filters]
) -> gr.Dropdown:
    """Build the tab.

    Args:
        zoo: The cards.
        chosen: The picker's version radio.
        default: The card shown at first.
        tab: This tab; choosing it draws the filters.
        filters: The first layer's weights of a model that is here.

    Returns:
        The model beside the chosen one; its value is an id, or empty.
    """
    other = gr.Dropdown(
        [("no other model", _NONE), *((card.id, card.id) for card in zoo)],
        value=_NONE,
        label="Compare with",
        info="A second model is drawn beside the chosen one.",
        elem_id="lr-compare",
    )
    summary = gr.Markdown(macs_summary(default.cost), elem_id="lr-cost")
    ranks = gr.Plot(ranks_figure(default), show_label=False, elem_id="lr-ranks-plot")
    with gr.Row():
        macs = gr.Plot(macs_figure(default), show_label=False, min_width=320)
        params = gr.Plot(params_figure(default), show_label=False, min_width=320)
    table = gr.Dataframe(
        rank_rows(default),
        headers=RANK_HEADERS,
        label="The chosen model's figures (the button at the top right copies them)",
        interactive=False,
        buttons=["copy"],
        elem_id="lr-ranks-table",
    )

    gr.Markdown("### What conv1 looks for")
    pictures = gr.HTML("", elem_id="lr-conv1")

    def show_filters(model: str) -> str:
        try:
            return filters_view(filters(model))
        except LowRankError as error:
            return message(str(error))

    gr.on(
        [tab.select, chosen.change],
        show_filters,
        chosen,
        pictures,
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="always_last",
    )

    visible, text, ranks_over_time, cost_over_time = _history_of(zoo, default.id)
    with gr.Column(visible=visible, elem_id="lr-history") as history:
        gr.Markdown("### How these ranks were learned")
        note = gr.Markdown(text)
        with gr.Row():
            learned = gr.Plot(ranks_over_time, show_label=False, min_width=320, elem_id="lr-history-ranks")
            cost = gr.Plot(cost_over_time, show_label=False, min_width=320, elem_id="lr-history-cost")

    def show(model: str, compared: str) -> tuple[str, go.Figure, go.Figure, go.Figure, list[list[str | int | float]]]:
        card = zoo.get(model)
        second = zoo.get(compared) if compared and compared != model else None
        text = macs_summary(card.cost)
        if second:
            text = f"**{card.id}**: {text}\n\n**{second.id}**: {macs_summary(second.cost)}"
        return (
            text,
            ranks_figure(card, second),
            macs_figure(card, second),
            params_figure(card, second),
            rank_rows(card),
        )

    gr.on(
        [chosen.change, other.change],
        show,
        [chosen, other],
        [summary, ranks, macs, params, table],
        api_visibility="private",
        show_progress="hidden",
    )

    def show_history(model: str) -> tuple[gr.Column, str, go.Figure | None, go.Figure | None]:
        visible, text, ranks_over_time, cost_over_time = _history_of(zoo, model)
        return gr.Column(visible=visible), text, ranks_over_time, cost_over_time

    chosen.change(
        show_history, chosen, [history, note, learned, cost], api_visibility="private", show_progress="hidden"
    )
    return other


def _history_of(zoo: Zoo, model: str) -> tuple[bool, str, go.Figure | None, go.Figure | None]:
    """Whether the model has a rank history, a sentence on it, and its figures."""
    card = zoo.get(model)
    if card.history is None:
        return False, "", None, None
    try:
        run = read_history(zoo.folder / card.history)
    except DataError as error:
        return True, str(error), None, None
    criterion = _CRITERIA.get(run.criterion, run.criterion)
    text = (
        f"The LC algorithm of this model's own training run, {criterion} criterion: each C step chooses every "
        "layer's rank in closed form, and μ grows from step to step until the weights and their low-rank copies meet."
    )
    return True, text, rank_history_figure(run), cost_history_figure(run)
