"""The *Explore λ* tab: move λ and μ, see what a C step keeps of the chosen model, and try the network cut there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..charts.models import macs_text
from ..charts.spectra import cut_figure, path_figure, spectra_figure
from ..errors import LowRankError
from ..models.cards import ModelCard
from .classify import photos_of
from .events import QUIET
from .page import LOG_LAMBDAS, LOG_STEP, Items, Page, warn
from .present import message
from .present_comparison import comparison_grid

if TYPE_CHECKING:
    from ..lowrank.c_step import Criterion
    from ..lowrank.spectra import Cut

_FRAME_SECONDS = 0.12
_ABOUT = (
    "The paper's C step keeps, layer by layer, the rank that minimises λ · cost + μ/2 · the energy that is lost. Here "
    "it is applied once to the chosen model's weights; in training it alternates with steps that let the weights "
    "adapt. So what you see is truncation, **not** what training at this λ would give."
)


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Choosing it draws."""
    service, chosen = page.desk.service, page.picker.version
    names = page.desk.files.names()
    gr.Markdown(_ABOUT)
    with gr.Row():
        page.log_lambda.render()
        page.log_mu.render()
        criterion = gr.Radio(
            [("FLOPs", "flops"), ("storage", "storage")],
            value="flops",
            label="Cost counts",
            info="Storage counts a weight once, however often it is used.",
            elem_id="lr-criterion",
        )
    with gr.Row():
        play = gr.Button("▶ Play the path of λ", size="sm", elem_id="lr-play")
        stop = gr.Button("Stop", size="sm", elem_id="lr-stop")
    summary = gr.Markdown("Computing the model's singular values: once, a few seconds.", elem_id="lr-cut")
    with gr.Row():
        ranks = gr.Plot(show_label=False, min_width=320, elem_id="lr-cut-ranks")
        values = gr.Plot(show_label=False, min_width=320, elem_id="lr-cut-spectra")
    path = gr.Plot(show_label=False, elem_id="lr-cut-path")
    cut_id = gr.State("")
    gr.Markdown("### Try it")
    with gr.Row():
        with gr.Column(min_width=280):
            attempt = gr.Button("Classify the dropped photos", variant="primary", elem_id="lr-try")
        with gr.Column(min_width=280):
            measure = gr.Button("Measure its error", elem_id="lr-cut-measure")
            file = gr.Dropdown(
                names,
                value=next(iter(names), None),
                label="Photos with labels",
                info="Progress is under Validate; the point joins the Pareto plot.",
                elem_id="lr-cut-file",
            )
    answers = gr.HTML("", elem_id="lr-cut-answers")

    def show(model: str, log_lambda: float, log_mu: float, counted: Criterion) -> tuple[Any, ...]:
        card = page.card(model)
        try:
            spectra = page.desk.inspection.spectra(card)
        except LowRankError as error:
            return str(error), None, None, None, ""
        now = spectra.cut(10**log_lambda, 10**log_mu, counted)
        count = round((LOG_LAMBDAS[1] - LOG_LAMBDAS[0]) / LOG_STEP)
        lambdas = [10 ** (LOG_LAMBDAS[0] + LOG_STEP * i) for i in range(count + 1)]
        return (
            _summary(card, now),
            cut_figure(spectra, now),
            spectra_figure(spectra, now),
            path_figure(spectra, spectra.path(lambdas, 10**log_mu, counted), now),
            card.cut(now.ranks).id,
        )

    def play_path(model: str, log_mu: float, counted: Criterion) -> Iterator[tuple[Any, ...]]:
        for tenth in range(round(LOG_LAMBDAS[0] * 10), round(LOG_LAMBDAS[1] * 10) + 1):
            began = time.monotonic()
            yield tenth / 10, *show(model, tenth / 10, log_mu, counted)
            time.sleep(max(0.0, _FRAME_SECONDS - (time.monotonic() - began)))

    def try_cut(items: Items, model: str, cut: str) -> str:
        taken = photos_of(items)[: service.settings.max_photos]
        if not taken:
            return message("There are no photos yet: drop some under Classify, then try again.")
        if not cut:
            return message("There is no cut network to try: choose a model whose weights are here.")
        try:
            return comparison_grid(taken, service.compare(taken, [page.card(model), page.card(cut)]))
        except LowRankError as error:
            return message(str(error))

    def measure_cut(model: str, cut: str, name: str | None) -> tuple[Any, ...]:
        try:
            started = page.start_validation(name, [model, cut] if cut else [])
        except LowRankError as error:
            warn(error)
            return gr.skip(), gr.skip(), gr.skip()
        return started, gr.Timer(active=True), gr.Tabs(selected="validate")

    shown = [summary, ranks, values, path, cut_id]
    gr.on(
        [page.log_lambda.input, page.log_mu.input, criterion.input, chosen.change, tab.select],
        show,
        [chosen, page.log_lambda, page.log_mu, criterion],
        shown,
        trigger_mode="always_last",
        concurrency_limit=4,
        **QUIET,
    )
    playing = play.click(
        play_path, [chosen, page.log_mu, criterion], [page.log_lambda, *shown], concurrency_limit=4, **QUIET
    )
    stop.click(None, None, None, cancels=[playing], **QUIET)
    attempt.click(try_cut, [page.photos, chosen, cut_id], answers, api_visibility="private", show_progress_on=answers)
    measure.click(measure_cut, [chosen, cut_id, file], [page.job, page.timer, page.tabs], **QUIET)


def _summary(card: ModelCard, cut: Cut) -> str:
    dropped = [cost.layer.name for cost, rank in zip(card.cost.layers, cut.ranks, strict=True) if rank == 0]
    text = (
        f"**λ = {cut.lambda_:.3g}, μ = {cut.mu:.3g}**: ranks {', '.join(map(str, cut.ranks))}. "
        f"{macs_text(cut.macs)}; the model has {macs_text(card.cost.macs)}. Each layer keeps between "
        f"{min(cut.energy):.1%} and {max(cut.energy):.1%} of its energy."
    )
    if dropped:
        text += f" {', '.join(dropped)} would be dropped, and the network would answer the same for every photo."
    return text
