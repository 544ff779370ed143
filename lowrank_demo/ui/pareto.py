"""The *Pareto* tab: FLOPs against error; a click on a point chooses that model."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import gradio as gr

from ..charts.pareto import Metric, pareto_figure
from ..report import Report
from ..zoo import ModelCard, Zoo

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
    zoo: Zoo, chosen: gr.Radio, default: ModelCard, finished: gr.State, measured: Callable[[str], Report | None]
) -> gr.HTML:
    """Build the tab.

    Args:
        zoo: The cards.
        chosen: The picker's version radio.
        default: The card marked at first.
        finished: Id of the visitor's validation once it has ended.
        measured: The report of a validation that is done.

    Returns:
        A hidden component whose ``click`` event carries ``model``, the id of the point that was clicked.
    """
    metric = gr.Radio(
        [("top-1 error", "top1"), ("top-5 error", "top5")],
        value="top1",
        label="Error",
        info="Published errors on the ImageNet validation set, and what you measured under Validate. A click on a "
        "point chooses that model everywhere.",
        elem_id="lr-metric",
    )
    plot = gr.Plot(pareto_figure(zoo, "top1", default), show_label=False, elem_id="lr-pareto-plot")
    clicks = gr.HTML("", js_on_load=_LISTEN, visible="hidden", elem_id="lr-pareto-clicks")
    gr.on(
        [chosen.change, metric.change, finished.change],
        lambda model, name, done: pareto_figure(zoo, cast("Metric", name), zoo.get(model), measured(done)),
        [chosen, metric, finished],
        plot,
        api_visibility="private",
        show_progress="hidden",
    )
    return clicks
