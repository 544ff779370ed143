"""The *Trade-off* tab: savings against error. A click on a point chooses its model."""

from __future__ import annotations

from typing import Any

import gradio as gr
import plotly.graph_objects as go

from ..charts.pareto import Metric, Saving, Source, pareto_figure
from .events import QUIET
from .page import Page

# gr.Plot has no click event. This waits for the figure, listens to Plotly's own event, and passes the point's model id
# on as a click on this component. Each choice draws a new figure, hence the page's event.
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
document.addEventListener('lr-changed', bind);
bind();
"""


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab."""
    service, inspection, chosen = page.desk.service, page.desk.inspection, page.chosen
    with gr.Row():
        saving = gr.Radio(
            [("MFLOPs", "mflops"), ("parameters", "params"), ("size", "megabytes"), ("time here", "latency")],
            value="mflops",
            label="Cost",
            info="Time of one image on this machine, measured when first chosen; bars show quartiles.",
            elem_id="lr-saving",
        )
        metric = gr.Radio(
            [("top-1", "top1"), ("top-5", "top5")],
            value="top1",
            label="Error",
            info="Click a point to choose its model.",
            elem_id="lr-metric",
        )
        source = gr.Radio(
            [("published", "published"), ("bundled weights", "cards"), ("measured here", "validations")],
            value="published",
            label="Errors from",
            info="The paper (ImageNet validation set), the bundled weights (photos in the legend), your validations.",
            elem_id="lr-source",
        )
    plot = gr.Plot(
        pareto_figure(service.zoo, "top1", page.card(chosen.value)), show_label=False, elem_id="lr-pareto-plot"
    )
    clicks = gr.HTML("", js_on_load=_LISTEN, visible="hidden", elem_id="lr-pareto-clicks")

    def draw(
        model: str,
        name: Metric,
        cost: Saving,
        errors_from: Source,
        done: list[str],
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> go.Figure:
        card = page.card(model)
        reports = page.desk.validations.reports(done)
        latencies = {}
        if cost == "latency":
            stated = [
                one
                for one in service.zoo
                if (errors_from == "published" and one.published) or (errors_from == "cards" and one.measured)
            ]
            measured = [result.card for report in reports for result in report.models]
            timed = {one.id: one for one in (*stated, card, *measured)}
            for number, one in enumerate(timed.values()):
                progress((number, len(timed)), desc=f"timing {one.id}")
                latencies[one.id] = inspection.latency(one)
        return pareto_figure(service.zoo, name, card, reports, cost, latencies, errors_from)

    def choose(event: gr.EventData) -> dict[Any, Any]:
        return page.choose(page.card(str(event.model)))

    page.when_open(
        tab,
        [chosen.change, metric.change, saving.change, source.change, page.finished.change],
        draw,
        [chosen, metric, saving, source, page.finished],
        [plot],
        api_visibility="private",
        show_progress="minimal",
        trigger_mode="always_last",
    )
    clicks.click(choose, None, [page.stage, page.chosen], **QUIET)
