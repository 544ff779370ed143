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
Source = Literal["published", "cards", "validations"]
"""Where errors come from: the paper, the measurements that cards state, or a visitor's validations alone."""
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
    source: Source = "published",
) -> go.Figure:
    """Draw a point for each model; its ``customdata`` is the model's id, for clicks.

    Args:
        zoo: The cards, with their errors.
        metric: The error on the y axis.
        chosen: The card to mark.
        measured: Validations to draw; points of truncated models look different.
        saving: The saving on the x axis.
        latencies: Model id -> measured time, for the saving ``latency``; models without one are left out.
        source: What to draw beside the validations. Published and measured errors never share a figure's lines: they
            are of different photos.
    """
    known = latencies or {}

    def x_of(card: ModelCard) -> float | None:
        if saving == "latency":
            return known[card.id].median if card.id in known else None
        return _COST[saving](card)

    figure = go.Figure()
    own = [card for card in zoo if source == "cards" and card.measured and x_of(card) is not None]
    if source == "published":
        _published(figure, zoo, metric, saving, x_of, known)
    _measured_for_cards(figure, own, metric, x_of)
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
    if not figure.data:
        figure.add_annotation(
            text="Nothing was measured yet: run a validation under Validate.",
            xref="paper",
            yref="paper",
            x=0.5,
            y=0.5,
            showarrow=False,
        )
    _mark(figure, chosen, metric, x_of(chosen), source)
    figure.update_xaxes(title=SAVING_NAMES[saving], rangemode="tozero" if saving == "latency" else "normal")
    if saving == "mflops":
        drawn = [card.cost.macs / 1e6 for card in (*own, *(result.card for one in measured for result in one.models))]
        figure.update_xaxes(range=[min([_MFLOPS[0], *(x - 20 for x in drawn)]), _MFLOPS[1]])
    sets = {"ImageNet"} if source == "published" else {card.measured[0].dataset for card in own}
    on = f" on {next(iter(sets))}" if len(sets) == 1 and not measured else ""
    figure.update_yaxes(title=f"{METRIC_NAMES[metric]} error, %")
    return styled(figure, f"{METRIC_NAMES[metric].capitalize()} error{on} against {_SHORT[saving]}", height=520)


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


def _measured_for_cards(
    figure: go.Figure, cards: Sequence[ModelCard], metric: Metric, x_of: Callable[[ModelCard], float | None]
) -> None:
    """Draw a dashed line for the models of one family and scheme that were measured on the same photos."""
    lines: dict[tuple[str, str, str], list[ModelCard]] = {}
    for card in sorted(cards, key=lambda card: (card.scheme, card.cost.macs)):
        first = card.measured[0]
        photos = first.dataset if first.images is None else f"{first.dataset}, {counted(first.images, 'photo')}"
        lines.setdefault((card.scheme, card.family, photos), []).append(card)
    for (scheme, family, photos), some in lines.items():
        errors = [getattr(card.measured[0], metric) for card in some]
        margins = [card.measured[0].margin(error) for card, error in zip(some, errors, strict=True)]
        figure.add_scatter(
            x=[x_of(card) for card in some],
            y=errors,
            error_y={"type": "data", "array": margins, "visible": None not in margins, "thickness": 1},
            text=[card.version for card in some],
            customdata=[card.id for card in some],
            mode="lines+markers+text",
            textposition="bottom left" if scheme == "scheme_2" else "top right",
            name=f"{scheme_title(scheme)} {family}: {photos}",
            line={"color": SCHEME_COLOURS[scheme], "width": 2, "dash": "dash"},
            marker={"size": 10, "symbol": "square"},
            hovertemplate="<b>%{customdata}</b>, measured<br>%{x:.4g}<br>%{y:.2f} % error<extra></extra>",
        )


def _mark(figure: go.Figure, chosen: ModelCard, metric: Metric, x: float | None, source: Source) -> None:
    if x is None:
        return
    errors, missing = {
        "published": (chosen.published, "chosen: no published error"),
        "cards": (chosen.measured[0] if chosen.measured else None, "chosen: not measured"),
        "validations": (None, "chosen"),
    }[source]
    if errors:
        figure.add_scatter(
            x=[x],
            y=[getattr(errors, metric)],
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
            "text": missing,
            "font": {"color": CHOSEN},
            "xanchor": "left",
            "yanchor": "bottom",
            "y": 1,
            "yref": "paper",
        },
    )
