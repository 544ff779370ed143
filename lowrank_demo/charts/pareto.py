"""The Pareto plot: what compression saves against the error it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import plotly.graph_objects as go

from ..models.cards import ModelCard, Zoo, scheme_title
from ..runtime.words import counted
from ..validate.report import ModelResult, Report
from .style import CHOSEN, GREY, MEASURED, SCHEME_COLOURS, styled

if TYPE_CHECKING:
    from ..classify.latency import Latency

Metric = Literal["top1", "top5"]
METRIC_NAMES: dict[Metric, str] = {"top1": "top-1", "top5": "top-5"}
Saving = Literal["mflops", "params", "megabytes", "latency"]
SAVING_NAMES: dict[Saving, str] = {
    "mflops": "MFLOPs for one image",
    "params": "millions of parameters",
    "megabytes": "megabytes of float32 weights",
    "latency": "ms for one image, measured here",
}
_SHORT: dict[Saving, str] = {"mflops": "FLOPs", "params": "parameters", "megabytes": "size", "latency": "time"}
_COST: dict[Saving, Callable[[ModelCard], float]] = {
    "mflops": lambda card: card.published_mflops or card.cost.macs / 1e6,
    "params": lambda card: card.cost.params / 1e6,
    "megabytes": lambda card: card.cost.fp32_bytes / 1e6,
}
_MFLOPS = (90, 790)
"""The x axis covers at least this range: from the most compressed published model to the uncompressed one."""


def pareto_figure(
    zoo: Zoo,
    metric: Metric,
    chosen: ModelCard,
    measured: Sequence[Report] = (),
    saving: Saving = "mflops",
    latencies: Mapping[str, Latency] | None = None,
    published: bool = True,
) -> go.Figure:
    """Draw a point for each model; its ``customdata`` is the model's id, for clicks.

    Args:
        zoo: The cards, with their published errors.
        metric: The error on the y axis.
        chosen: The card to mark.
        measured: Validations to draw; points of truncated models look different.
        saving: The saving on the x axis.
        latencies: Model id -> measured time, for the saving ``latency``; models without one are left out.
        published: Draw published errors as well as measured ones.
    """
    known = latencies or {}

    def x_of(card: ModelCard) -> float | None:
        if saving == "latency":
            return known[card.id].median if card.id in known else None
        return _COST[saving](card)

    figure = go.Figure()
    if published:
        _published(figure, zoo, metric, saving, x_of, known)
    for file, count, results in _by_file(measured):
        for truncated, what in ((False, "measured here"), (True, "truncated, not trained")):
            some = [result for result in results if bool(result.card.truncated_from) == truncated]
            if some:
                figure.add_scatter(
                    x=[x_of(result.card) for result in some],
                    y=[result.top1_error if metric == "top1" else result.top5_error for result in some],
                    customdata=[result.card.id for result in some],
                    mode="markers",
                    name=f"{what}: {file}, {counted(count, 'image')}",
                    marker={"color": MEASURED, "size": 12, "symbol": "diamond-open" if truncated else "x"},
                    hovertemplate="<b>%{customdata}</b>, measured<br>%{x:.1f}<br>%{y:.2f} % error<extra></extra>",
                )
    if not published and not measured:
        figure.add_annotation(
            text="Nothing was measured yet: run a validation under Validate.",
            xref="paper",
            yref="paper",
            x=0.5,
            y=0.5,
            showarrow=False,
        )
    _mark(figure, chosen, metric, x_of(chosen), published)
    figure.update_xaxes(title=SAVING_NAMES[saving], rangemode="tozero" if saving == "latency" else "normal")
    if saving == "mflops":
        drawn = [result.card.cost.macs / 1e6 for report in measured for result in report.models]
        figure.update_xaxes(range=[min([_MFLOPS[0], *(x - 20 for x in drawn)]), _MFLOPS[1]])
    figure.update_yaxes(title=f"{METRIC_NAMES[metric]} error{'' if measured or not published else ' on ImageNet'}, %")
    return styled(figure, f"{METRIC_NAMES[metric].capitalize()} error against {_SHORT[saving]}", height=520)


def _by_file(reports: Sequence[Report]) -> list[tuple[str, int, list[ModelResult]]]:
    """Group results by file: name, images, and each model's latest result."""
    found: dict[tuple[str, int], dict[str, ModelResult]] = {}
    for report in reports:
        results = {result.card.id: result for result in report.models if result.top1_error is not None}
        found.setdefault((report.file, report.count), {}).update(results)
    return [(file, count, list(results.values())) for (file, count), results in found.items()]


def _published(
    figure: go.Figure,
    zoo: Zoo,
    metric: Metric,
    saving: Saving,
    x_of: Callable[[ModelCard], float | None],
    latencies: Mapping[str, Latency],
) -> None:
    """Draw a line for each scheme, and the uncompressed network where its cost is known."""
    for scheme in dict.fromkeys(card.scheme for card in zoo):
        cards = [card for card in zoo.of_scheme(scheme) if card.published and x_of(card) is not None]
        cards.sort(key=lambda card: card.cost.macs)
        spread = [latencies[card.id] for card in cards] if saving == "latency" else []
        figure.add_scatter(
            x=[x_of(card) for card in cards],
            y=[getattr(card.published, metric) for card in cards],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.median for one in spread],
                "arrayminus": [one.median - one.low for one in spread],
                "visible": bool(spread),
            },
            text=[card.version for card in cards],
            customdata=[card.id for card in cards],
            mode="lines+markers+text",
            textposition="bottom left" if scheme == "scheme_2" else "top right",
            name=scheme_title(scheme),
            line={"color": SCHEME_COLOURS[scheme], "width": 2},
            marker={"size": 11},
            hovertemplate="<b>%{customdata}</b><br>%{x:.4g}<br>%{y:.2f} % error<extra></extra>",
        )
    reference = zoo.reference
    if saving == "mflops":
        figure.add_scatter(
            x=[reference.mflops],
            y=[getattr(reference, metric)],
            text=[reference.name],
            mode="markers+text",
            textposition="bottom left",
            name=f"{reference.name} (uncompressed)",
            marker={"color": GREY, "size": 13, "symbol": "diamond"},
            hovertemplate="<b>%{text}</b>, uncompressed<br>%{x} MFLOPs<br>%{y:.2f} % error<extra></extra>",
        )


def _mark(figure: go.Figure, chosen: ModelCard, metric: Metric, x: float | None, published: bool) -> None:
    if x is None:
        return
    if chosen.published and published:
        figure.add_scatter(
            x=[x],
            y=[getattr(chosen.published, metric)],
            customdata=[chosen.id],
            mode="markers",
            name="chosen model",
            marker={"color": "rgba(0,0,0,0)", "size": 22, "line": {"color": CHOSEN, "width": 3}},
            hoverinfo="skip",
        )
        return
    figure.add_vline(
        x=x,
        line={"color": CHOSEN, "width": 2, "dash": "dot"},
        annotation={
            "text": "chosen" if chosen.published else "chosen: no published error",
            "font": {"color": CHOSEN},
            "xanchor": "left",
            "yanchor": "bottom",
            "y": 1,
            "yref": "paper",
        },
    )
