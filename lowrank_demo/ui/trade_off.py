"""The *Trade-off* tab: cost against error. A click on a point chooses its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import plotly.graph_objects as go

from ..charts.pareto import Metric, Saving, pareto_figure
from ..charts.points import PhotoSet, Source, published, sets_of
from ..models.cards import ModelCard
from .events import QUIET
from .page import Page

if TYPE_CHECKING:
    from ..classify.latency import Latency

# gr.Plot has no click event. This waits for the figure, listens to Plotly's own event, and passes the point's model id
# on as a click on this component. Each choice draws a new figure, so this listens again whenever the page changes.
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
_COSTS: list[tuple[str, Saving]] = [
    ("MFLOPs", "mflops"),
    ("parameters", "params"),
    ("size", "megabytes"),
    ("time here", "latency"),
]
_SOURCES: list[tuple[str, Source]] = [
    ("published", "published"),
    ("bundled weights", "cards"),
    ("measured here", "validations"),
]

_ABOUT = (
    "Click a point to choose its model. MFLOPs are multiply-accumulates in millions for one image, as the paper counts "
    "them. Error bars are 95 % Wilson intervals for errors and quartiles for times, which are measured on this machine "
    "when you first ask. Each plot uses one set of photos, because errors on different photos cannot be compared."
)


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab."""
    service, chosen = page.desk.service, page.chosen
    paper = published(service.zoo)
    with gr.Row():
        saving = gr.Radio(_COSTS, value="mflops", label="Cost", scale=3, min_width=260, elem_id="lr-saving")
        metric = gr.Radio(
            [("top-1", "top1"), ("top-5", "top5")], value="top1", label="Error", min_width=170, elem_id="lr-metric"
        )
        source = gr.Radio(_SOURCES, value="published", label="Errors from", scale=3, min_width=260, elem_id="lr-source")
        photos = gr.Dropdown(
            [paper.title], value=paper.title, label="Photos", scale=2, min_width=400, elem_id="lr-measured-on"
        )
    plot = gr.Plot(
        pareto_figure(service.zoo, paper, "top1", page.card(chosen.value)), show_label=False, elem_id="lr-pareto-plot"
    )
    gr.Markdown(_ABOUT, elem_classes="lr-note")
    clicks = gr.HTML("", js_on_load=_LISTEN, visible="hidden", elem_id="lr-pareto-clicks")
    latest = gr.State("")
    """The validation that ended last when the plot was drawn."""

    def draw(
        model: str,
        name: Metric,
        cost: Saving,
        errors_from: Source,
        wanted: str | None,
        done: list[str],
        seen: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[go.Figure, gr.Dropdown, str]:
        card = page.card(model)
        sets = sets_of(errors_from, service.zoo, page.desk.validations.reports(done))
        last = done[-1] if done else ""
        # A validation that has just ended is what its visitor wants to see.
        drawn = _pick(sets, "" if errors_from == "validations" and last != seen else wanted)
        latencies = _timed(page, drawn, card, progress) if cost == "latency" else None
        titles = [one.title for one in sets]
        picker = gr.Dropdown(choices=titles, value=drawn.title if drawn else None)
        return pareto_figure(service.zoo, drawn, name, card, cost, latencies), picker, last

    def choose(event: gr.EventData) -> dict[Any, Any]:
        return page.choose(page.card(str(event.model)))

    page.when_open(
        tab,
        [chosen.change, metric.change, saving.change, source.change, photos.input, page.finished.change],
        draw,
        [chosen, metric, saving, source, photos, page.finished, latest],
        [plot, photos, latest],
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=plot,
        trigger_mode="always_last",
    )
    clicks.click(choose, None, [page.stage, page.chosen], trigger_mode="multiple", **QUIET)


def _pick(sets: list[PhotoSet], title: str | None) -> PhotoSet | None:
    """Return the set with this title; else the first, which is the latest that was measured."""
    return next((one for one in sets if one.title == title), sets[0] if sets else None)


def _timed(page: Page, photos: PhotoSet | None, chosen: ModelCard, progress: gr.Progress) -> dict[str, Latency]:
    """Measure the time of every model of a set, and of the chosen one, where it is not known yet."""
    every = [*(point.card for point in photos.points), chosen] if photos else []
    cards = {card.id: card for card in every}
    found: dict[str, Latency] = {}
    for number, card in enumerate(cards.values()):
        progress((number, len(cards)), desc=f"timing {card.title}")
        found[card.id] = page.desk.inspection.latency(card)
    return found
