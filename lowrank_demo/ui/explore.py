"""The *Explore λ* tab: move λ and μ, see what a C step keeps of the chosen model, and try the truncated network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ..charts.spectra import frame, path_figure, ranks_kept_figure, spectra_figure
from ..errors import LowRankError
from ..models.cards import ModelCard
from ..models.zoo import Zoo
from ..runtime.words import lambda_text, percent
from .events import QUIET
from .page import LOG_LAMBDAS, LOG_STEP, Items, Page, photos_of, warn
from .present import message
from .present_comparison import comparison_grid

if TYPE_CHECKING:
    from ..lowrank.c_step import Criterion
    from ..lowrank.spectra import Truncation

_FRAME_SECONDS = 0.2
_FIGURES = ("lr-truncated-ranks", "lr-truncated-spectra", "lr-truncated-path")
_LOG_LAMBDAS = [
    round(LOG_LAMBDAS[0] + LOG_STEP * i, 2) for i in range(round(1 + (LOG_LAMBDAS[1] - LOG_LAMBDAS[0]) / LOG_STEP))
]
_LAMBDAS = [10**one for one in _LOG_LAMBDAS]
# The browser plays the path at its own pace. Frames pushed by the server would outrun it: a browser takes 0.3 s to
# redraw three figures, and while frames wait, it neither paints nor reacts to clicks. Each frame changes the figures
# in place, so the script presses Stop after the last one, which redraws them from the server.
_NEXT_FRAME = """(frames, lambda, summary) => {
  const end = { __type__: 'update', active: false };
  // Stop may come before the frames do, and a visitor may leave the tab.
  if (window.lowrankStopped || document.querySelector('#lr-truncated-path').offsetParent === null) {
    return [lambda, summary, end];
  }
  const frame = frames.find((one) => one.log_lambda > lambda + 1e-6);
  if (!frame) {
    document.querySelector('#lr-stop').click();
    return [lambda, summary, end];
  }
  for (const [id, change] of Object.entries(frame.changes)) {
    const plot = document.querySelector(`#${id} .js-plotly-plot`);
    if (plot) window.Plotly.update(plot, ...change);
  }
  return [frame.log_lambda, frame.summary, { __type__: 'update' }];
}"""
_PLAY = "(...inputs) => { window.lowrankStopped = false; return inputs; }"
_STOP = "() => { window.lowrankStopped = true; return { __type__: 'update', active: false }; }"
_ABOUT = (
    "The paper's C step keeps, layer by layer, the rank that minimises λ · cost + μ/2 · lost energy. Here it is "
    "applied once to the chosen model's weights; in training it alternates with steps that let the weights adapt. So "
    "you see truncation, **not** the result of training at this λ. *Try it* truncates by SVD. Versions that share one "
    "file are cut to each layer's first components instead. A cut between two versions has the weighted mean of their "
    "biases, batch normalisation and convolutions' U. A cut below the smallest version has statistics of batch "
    "normalisation that were measured at its ranks or slightly higher ones."
)


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Its figures are drawn when it is opened."""
    service, chosen = page.desk.service, page.chosen
    names = page.desk.files.names()
    gr.Markdown(_ABOUT)
    with gr.Row():
        page.log_lambda.render()
        page.log_mu.render()
        criterion = gr.Radio(
            [("MFLOPs", "flops"), ("storage", "storage")],
            value="flops",
            label="Cost measured in",
            info="Storage counts a weight once, however often it is used.",
            elem_id="lr-criterion",
        )
    with gr.Row():
        play = gr.Button("▶ Play the path of λ", size="sm", elem_id="lr-play")
        stop = gr.Button("Stop", size="sm", elem_id="lr-stop")
    summary = gr.Markdown(
        "Computing the model's singular values: this takes a few seconds, once.", elem_id="lr-truncated"
    )
    with gr.Row():
        figures = [gr.Plot(show_label=False, min_width=320, elem_id=name) for name in _FIGURES[:2]]
    figures.append(gr.Plot(show_label=False, elem_id=_FIGURES[2]))
    frames, timer = gr.JSON(visible=False), gr.Timer(_FRAME_SECONDS, active=False)
    gr.Markdown("### Try it")
    with gr.Row():
        with gr.Column(min_width=280):
            attempt = gr.Button("Classify the dropped photos", variant="primary", elem_id="lr-try")
        with gr.Column(min_width=280):
            measure = gr.Button("Measure its error", elem_id="lr-truncated-measure")
            file = gr.Dropdown(
                names,
                value=next(iter(names), None),
                label="Labelled file",
                info="Progress shows under Validate; the point appears under Trade-off, with errors measured here.",
                elem_id="lr-truncated-file",
            )
    answers = gr.HTML("", elem_id="lr-truncated-answers")

    def whole(model: str) -> ModelCard:
        """Return the model that a cut was made from: only its weights have a singular value for each rank."""
        return page.card(model.partition("@")[0])

    def show(model: str, log_lambda: float, log_mu: float, counted: Criterion) -> tuple[Any, ...]:
        card = whole(model)
        try:
            spectra = page.desk.inspection.spectra(card)
        except LowRankError as error:
            return str(error), None, None, None
        now = spectra.truncation(10**log_lambda, 10**log_mu, counted)
        path = spectra.path(_LAMBDAS, 10**log_mu, counted)
        return (
            _summary(service.zoo, card, now),
            ranks_kept_figure(spectra, now),
            spectra_figure(spectra, now),
            path_figure(spectra, path, now),
        )

    def play_path(model: str, log_mu: float, counted: Criterion) -> tuple[Any, ...]:
        card = whole(model)
        try:
            spectra = page.desk.inspection.spectra(card)
        except LowRankError as error:
            warn(error)
            return gr.skip(), gr.skip(), gr.skip()
        path = spectra.path(_LAMBDAS, 10**log_mu, counted)
        film = [
            {
                "log_lambda": log_lambda,
                "summary": _summary(service.zoo, card, truncation),
                "changes": dict(zip(_FIGURES, frame(spectra, truncation), strict=True)),
            }
            for log_lambda, truncation in zip(_LOG_LAMBDAS, path, strict=True)
        ]
        return LOG_LAMBDAS[0], film, gr.Timer(active=True)

    def truncated_id(model: str, log_lambda: float, log_mu: float, counted: Criterion) -> str:
        card = whole(model)
        truncation = page.desk.inspection.spectra(card).truncation(10**log_lambda, 10**log_mu, counted)
        return service.zoo.truncated(card, truncation.ranks).id

    def try_truncated(items: Items, model: str, log_lambda: float, log_mu: float, counted: Criterion) -> str:
        taken = photos_of(items)[: service.settings.max_photos]
        if not taken:
            return message("There are no photos yet: drop some above, then try again.")
        try:
            card = page.card(truncated_id(model, log_lambda, log_mu, counted))
            return comparison_grid(service.zoo, taken, service.compare(taken, [whole(model), card]))
        except LowRankError as error:
            return message(str(error))

    def measure_truncated(
        job: str, name: str | None, model: str, log_lambda: float, log_mu: float, counted: Criterion
    ) -> tuple[Any, ...]:
        if page.busy(job):
            warn("Your validation has not ended; wait for it, or cancel it in the Validate tab.")
            return gr.skip(), gr.skip(), gr.skip()
        try:
            cut = truncated_id(model, log_lambda, log_mu, counted)
            started = page.start_validation(name, [whole(model).id, cut])
        except LowRankError as error:
            warn(error)
            return gr.skip(), gr.skip(), gr.skip()
        return started, gr.Timer(active=True), gr.Tabs(selected="validate")

    inputs = [chosen, page.log_lambda, page.log_mu, criterion]
    changed = [page.log_lambda.input, page.log_mu.input, criterion.input, chosen.change, page.ready.change, stop.click]
    playing = play.click(
        play_path,
        [chosen, page.log_mu, criterion],
        [page.log_lambda, frames, timer],
        js=_PLAY,
        concurrency_limit=4,
        **QUIET,
    )
    timer.tick(None, [frames, page.log_lambda, summary], [page.log_lambda, summary, timer], js=_NEXT_FRAME, **QUIET)
    # Also before an attempt: λ would move on under its answers.
    stopping = [*changed, tab.select, attempt.click, measure.click]
    gr.on(stopping, None, None, timer, js=_STOP, cancels=[playing], **QUIET)
    shown = [summary, *figures]
    page.when_open(tab, changed, show, inputs, shown, trigger_mode="always_last", concurrency_limit=4, **QUIET)
    trying = attempt.click(
        try_truncated, [page.photos, *inputs], answers, api_visibility="private", show_progress_on=answers
    )
    # Clear the answers when the ranks above them change: they would mislead.
    gr.on([*changed, play.click, page.photos.change], lambda: "", None, answers, cancels=[trying], **QUIET)
    measure.click(measure_truncated, [page.job, file, *inputs], [page.job, page.timer, page.tabs], **QUIET)


def _summary(zoo: Zoo, card: ModelCard, truncation: Truncation) -> str:
    dropped = [cost.layer.name for cost, rank in zip(card.cost.layers, truncation.ranks, strict=True) if rank == 0]
    ranks = ", ".join(map(str, truncation.ranks))
    text = (
        f"**λ = {lambda_text(truncation.lambda_)}, μ = {truncation.mu:.3g}**: ranks {ranks}. "
        f"{zoo.mflops(zoo.truncated(card, truncation.ranks))} MFLOPs; the model has {zoo.mflops(card)}. "
        f"{'By SVD, each layer would keep' if card.weights.format == 'nested' else 'Each layer keeps'} between "
        f"{percent(min(truncation.energy))} and {percent(max(truncation.energy))} of its energy."
    )
    if dropped:
        text += f" {', '.join(dropped)} would be dropped, so the network would give every photo the same answer."
    return text
