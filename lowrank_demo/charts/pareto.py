"""FLOPs against error. No torch, no Gradio."""

from __future__ import annotations

from typing import Literal

import plotly.graph_objects as go

from ..report import Report
from ..zoo import ModelCard, Zoo
from .style import CHOSEN, GREY, MEASURED, SCHEME_COLOURS, scheme_title, styled

Metric = Literal["top1", "top5"]
METRIC_NAMES: dict[Metric, str] = {"top1": "top-1", "top5": "top-5"}


def pareto_figure(zoo: Zoo, metric: Metric, chosen: ModelCard, measured: Report | None = None) -> go.Figure:
    """MFLOPs against error; every point's ``customdata`` is its model id, for clicks.

    Args:
        zoo: The cards, with their published errors.
        metric: Which error.
        chosen: The card to mark.
        measured: A validation whose results are drawn as points of their own.
    """
    figure = go.Figure()
    for scheme in dict.fromkeys(card.scheme for card in zoo):
        cards = sorted(
            (card for card in zoo.of_scheme(scheme) if card.published), key=lambda card: card.published_mflops or 0
        )
        figure.add_scatter(
            x=[card.published_mflops for card in cards],
            y=[getattr(card.published, metric) for card in cards],
            text=[card.version for card in cards],
            customdata=[card.id for card in cards],
            mode="lines+markers+text",
            textposition="bottom left" if scheme == "scheme_2" else "top right",
            name=scheme_title(scheme),
            line={"color": SCHEME_COLOURS[scheme], "width": 2},
            marker={"size": 11},
            hovertemplate="<b>%{customdata}</b><br>%{x} MFLOPs<br>%{y:.2f} % error<extra></extra>",
        )
    reference = zoo.reference
    figure.add_scatter(
        x=[reference.mflops],
        y=[getattr(reference.errors, metric)],
        text=[reference.name],
        mode="markers+text",
        textposition="bottom left",
        name=f"{reference.name} (uncompressed)",
        marker={"color": GREY, "size": 13, "symbol": "diamond"},
        hovertemplate="<b>%{text}</b>, uncompressed<br>%{x} MFLOPs<br>%{y:.2f} % error<extra></extra>",
    )
    if measured:
        results = [result for result in measured.models if result.top1_error is not None]
        figure.add_scatter(
            x=[result.card.cost.macs / 1e6 for result in results],
            y=[result.top1_error if metric == "top1" else result.top5_error for result in results],
            customdata=[result.card.id for result in results],
            mode="markers",
            name=f"measured here: {measured.file}, {measured.count:,} images",
            marker={"color": MEASURED, "size": 13, "symbol": "x"},
            hovertemplate="<b>%{customdata}</b>, measured<br>%{x:.1f} MFLOPs<br>%{y:.2f} % error<extra></extra>",
        )
    if chosen.published:
        figure.add_scatter(
            x=[chosen.published_mflops],
            y=[getattr(chosen.published, metric)],
            customdata=[chosen.id],
            mode="markers",
            name="chosen model",
            marker={"color": "rgba(0,0,0,0)", "size": 22, "line": {"color": CHOSEN, "width": 3}},
            hoverinfo="skip",
        )
    else:
        mmacs = chosen.cost.macs / 1e6
        figure.add_vline(
            x=mmacs,
            line={"color": CHOSEN, "width": 2, "dash": "dot"},
            annotation={
                "text": "chosen: no published error",
                "font": {"color": CHOSEN},
                "xanchor": "left",
                "yanchor": "bottom",
                "y": 1,
                "yref": "paper",
            },
        )
    figure.update_xaxes(title="MFLOPs for one image", range=[90, 790])
    figure.update_yaxes(title=f"{METRIC_NAMES[metric]} error{'' if measured else ' on ImageNet'}, %")
    name = METRIC_NAMES[metric].capitalize()
    return styled(figure, f"{name} error against FLOPs", height=520)
