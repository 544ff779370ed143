"""The *Explore λ* tab: move λ and μ, see what a C step keeps of the chosen model, and try the network cut so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..charts.models import macs_text
from ..charts.spectra import cut_figure, path_figure, spectra_figure
from ..errors import LowRankError
from ..models.cards import ModelCard, Zoo
from ..serve.service import Comparison, Photo
from .classify import photos_of
from .present import message
from .present_comparison import comparison_grid

if TYPE_CHECKING:
    from ..lowrank.c_step import Criterion
    from ..lowrank.spectra import Cut, Spectra

LAMBDA, MU = -4.0, -2.0
"""Where the sliders begin, as powers of ten: at μ = 0.01, λ = 10⁻⁴ takes a part of every layer of most models."""
_LAMBDAS = (-6.0, -3.0)
_MUS = (-3.0, 1.0)
_STEP = 0.05
_FRAME_SECONDS = 0.12
_ABOUT = (
    "The paper's C step keeps, layer by layer, the rank that minimises λ · cost + μ/2 · the energy that is lost. Here "
    "it is applied once to the chosen model's weights; in training it alternates with steps that let the weights "
    "adapt. So what you see is truncation, **not** what training at this λ would give."
)


@dataclass(frozen=True)
class Explorer:
    """The components that the page connects to others."""

    lambda_: gr.Slider
    mu: gr.Slider
    measure: gr.Button
    file: gr.Dropdown
    cut: gr.State
    """Id of the model as it is cut now; empty where there is none."""


def build(
    zoo: Zoo,
    chosen: gr.Radio,
    photos: gr.Gallery,
    tab: gr.Tab,
    spectra: Callable[[str], Spectra],
    compare: Callable[[Sequence[Photo], Sequence[str]], Comparison],
    files: Callable[[], list[str]],
    max_photos: int,
) -> Explorer:
    """Build the tab.

    Args:
        zoo: The cards.
        chosen: The picker's version radio.
        photos: The photos of the *Classify* tab.
        tab: This tab; choosing it draws.
        spectra: A model's singular values.
        compare: Photos and model ids to what those models say of them.
        files: Names of the labelled files that an error can be measured on.
        max_photos: Photos that are tried at once.
    """
    names = files()
    gr.Markdown(_ABOUT)
    with gr.Row():
        lambda_ = gr.Slider(
            *_LAMBDAS,
            value=LAMBDA,
            step=_STEP,
            label="log₁₀ λ",
            info="The price of cost: further right, fewer ranks.",
            elem_id="lr-lambda",
        )
        mu = gr.Slider(
            *_MUS,
            value=MU,
            step=_STEP,
            label="log₁₀ μ",
            info="The weight of what is lost: further right, more ranks.",
            elem_id="lr-mu",
        )
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
        try:
            known = spectra(model)
        except LowRankError as error:
            return str(error), None, None, None, ""
        now = known.cut(10**log_lambda, 10**log_mu, counted)
        count = round((_LAMBDAS[1] - _LAMBDAS[0]) / _STEP)
        lambdas = [10 ** (_LAMBDAS[0] + _STEP * i) for i in range(count + 1)]
        card = zoo.get(model)
        return (
            _summary(card, now),
            cut_figure(known, now),
            spectra_figure(known, now),
            path_figure(known, known.path(lambdas, 10**log_mu, counted), now),
            card.cut(now.ranks).id,
        )

    def along(model: str, log_mu: float, counted: Criterion) -> Iterator[tuple[Any, ...]]:
        for tenth in range(round(_LAMBDAS[0] * 10), round(_LAMBDAS[1] * 10) + 1):
            began = time.monotonic()
            yield tenth / 10, *show(model, tenth / 10, log_mu, counted)
            time.sleep(max(0.0, _FRAME_SECONDS - (time.monotonic() - began)))

    def try_it(items: list[tuple[str, str | None]] | None, model: str, cut: str) -> str:
        taken = photos_of(items)[:max_photos]
        if not taken:
            return message("There are no photos yet: drop some under Classify, then try again.")
        if not cut:
            return message("There is no cut network to try: choose a model whose weights are here.")
        try:
            return comparison_grid(taken, compare(taken, [model, cut]))
        except LowRankError as error:
            return message(str(error))

    inputs = [chosen, lambda_, mu, criterion]
    shown = [summary, ranks, values, path, cut_id]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on(
        [lambda_.input, mu.input, criterion.input, chosen.change, tab.select],
        show,
        inputs,
        shown,
        trigger_mode="always_last",
        concurrency_limit=4,
        **quiet,
    )
    playing = play.click(along, [chosen, mu, criterion], [lambda_, *shown], concurrency_limit=4, **quiet)
    stop.click(None, None, None, cancels=[playing], **quiet)
    attempt.click(try_it, [photos, chosen, cut_id], answers, api_visibility="private", show_progress_on=answers)
    return Explorer(lambda_, mu, measure, file, cut_id)


def _summary(card: ModelCard, cut: Cut) -> str:
    lost = [cost.layer.name for cost, rank in zip(card.cost.layers, cut.ranks, strict=True) if rank == 0]
    text = (
        f"**λ = {cut.lambda_:.3g}, μ = {cut.mu:.3g}**: ranks {', '.join(map(str, cut.ranks))}. "
        f"{macs_text(cut.macs)}, where the model has {macs_text(card.cost.macs)}; of the energy, "
        f"{min(cut.energy):.1%} to {max(cut.energy):.1%} of each layer's is kept."
    )
    if lost:
        text += f" {', '.join(lost)} would be dropped whole: such a network tells nothing apart."
    return text
