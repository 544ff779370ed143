"""The *Pareto* tab: what is saved against error; a click on a point chooses that model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import gradio as gr
import plotly.graph_objects as go

from ..charts.pareto import Metric, Saving, pareto_figure
from ..models.cards import ModelCard, Zoo
from ..validate.report import Report

if TYPE_CHECKING:
    from ..classify.latency import Latency

# gr.Plot has no click event: this waits for the figure, listens to Plotly's own event, and hands the point's model id
# on as this component's click. The figure is drawn anew with every choice, hence the observer.
_LISTEN = """
const bind = () => {
  const plot = document.querySelector('#lr-pareto-plot .js-plotly-plot');
  if (!plot || plot.dataset.lrBound || !plot.on) return;
  plot.dataset.lrBound = '1';
  plot.on('plotly_click', (event) => {
    const point = event.points.find((p) => p.customdata);
    if (point) trigger('click', { model: String(point.customdata) });
  });
};
new MutationObserver(bind).observe(document.body, { childList: true, subtree: true });
bind();
"""


def build(
    zoo: Zoo,
    chosen: gr.Radio,
    default: ModelCard,
    finished: gr.State,
    measured: Callable[[Sequence[str]], list[Report]],
    latency: Callable[[str], Latency],
) -> gr.HTML:
    """Build the tab.

    Args:
        zoo: The cards.
        chosen: The picker's version radio.
        default: The card marked at first.
        finished: Ids of the visitor's validations that have ended.
        measured: Their reports.
        latency: Times one model.

    Returns:
        A hidden component whose ``click`` event carries ``model``, the id of the point that was clicked.
    """
    with gr.Row():
        saving = gr.Radio(
            [("MFLOPs", "mflops"), ("parameters", "params"), ("size", "megabytes"), ("time here", "latency")],
            value="mflops",
            label="What is saved",
            info="Time is measured on this machine when it is first asked for, quartiles as bars.",
            elem_id="lr-saving",
        )
        metric = gr.Radio(
            [("top-1", "top1"), ("top-5", "top5")],
            value="top1",
            label="Error",
            info="A click on a point chooses that model everywhere.",
            elem_id="lr-metric",
        )
        source = gr.Radio(
            [("published", "published"), ("measured here", "measured")],
            value="published",
            label="Whose errors",
            info="Published on the ImageNet validation set, or only those of your validations.",
            elem_id="lr-source",
        )
    plot = gr.Plot(pareto_figure(zoo, "top1", default), show_label=False, elem_id="lr-pareto-plot")
    clicks = gr.HTML("", js_on_load=_LISTEN, visible="hidden", elem_id="lr-pareto-clicks")

    def draw(
        model: str,
        name: Metric,
        cost: Saving,
        shown: str,
        done: list[str],
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> go.Figure:
        latencies: dict[str, Latency] = {}
        reports = measured(done)
        if cost == "latency":
            seen = {result.card.id for report in reports for result in report.models}
            cards = [card for card in zoo if card.published or card.id == model or card.id in seen]
            cards += [zoo.get(model_id) for model_id in sorted(seen - {card.id for card in cards})]
            for number, card in enumerate(cards):
                progress((number, len(cards)), desc=f"timing {card.id}")
                latencies[card.id] = latency(card.id)
        return pareto_figure(zoo, name, zoo.get(model), reports, cost, latencies, shown == "published")

    gr.on(
        [chosen.change, metric.change, saving.change, source.change, finished.change],
        draw,
        [chosen, metric, saving, source, finished],
        plot,
        api_visibility="private",
        show_progress="minimal",
        trigger_mode="always_last",
    )
    return clicks
