"""Model cards to Plotly figures. No torch, no Gradio.

Backgrounds are transparent and text is mid-grey, so that a figure reads on light and dark pages alike.
"""

from __future__ import annotations

from typing import Literal

import plotly.graph_objects as go

from .cost import DENSE_MACS, NetworkCost
from .report import Report
from .zoo import ModelCard, Zoo

Metric = Literal["top1", "top5"]
METRIC_NAMES: dict[Metric, str] = {"top1": "top-1", "top5": "top-5"}

SCHEME_COLOURS = {"scheme_1": "#e07b1a", "scheme_2": "#3b82f6"}
_GREY, _GRID, _FULL = "#808691", "rgba(128,134,145,0.25)", "rgba(128,134,145,0.22)"
_MEASURED = "#16a34a"
_V, _U = "#14b8a6", "#8b5cf6"
_V_OTHER, _U_OTHER = "rgba(20,184,166,0.45)", "rgba(139,92,246,0.45)"


def scheme_title(scheme: str) -> str:
    """``scheme_2`` as people read it: ``Scheme 2``."""
    return scheme.replace("_", " ").capitalize()


def short_name(card: ModelCard) -> str:
    """A model in a legend: ``scheme 2 v5``, with its family unless it is the published one."""
    name = f"{scheme_title(card.scheme).lower()} {card.version}"
    return name if card.published else f"{name} {card.family}"


def ranks_figure(card: ModelCard, other: ModelCard | None = None) -> go.Figure:
    """Learned rank as a share of the full rank, layer by layer, with the ranks as text."""
    figure = go.Figure()
    names = [cost.layer.name for cost in card.cost.layers]
    if other is None:
        figure.add_bar(
            x=names,
            y=[100.0] * len(names),
            marker_color=_FULL,
            name="full rank",
            hoverinfo="skip",
        )
    for model, colour in ((card, SCHEME_COLOURS[card.scheme]), (other, _GREY)):
        if model is None:
            continue
        costs = model.cost.layers
        figure.add_bar(
            x=names,
            y=[100 * cost.rank / cost.full_rank for cost in costs],
            text=[str(cost.rank) for cost in costs],
            textposition="outside",
            textangle=0,
            cliponaxis=False,
            marker_color=colour,
            name=short_name(model),
            customdata=[
                (cost.rank, cost.full_rank, _shape(cost.v.weight_shape), _shape(cost.u.weight_shape)) for cost in costs
            ],
            hovertemplate="<b>%{x}</b><br>rank %{customdata[0]} of %{customdata[1]} (%{y:.0f} %)"
            "<br>V %{customdata[2]}<br>U %{customdata[3]}<extra>" + short_name(model) + "</extra>",
        )
    figure.update_layout(barmode="overlay" if other is None else "group")
    figure.update_yaxes(title="rank, % of full rank", range=[0, 112], tickvals=[0, 25, 50, 75, 100])
    return _styled(figure, "Learned rank of each layer")


def macs_figure(card: ModelCard, other: ModelCard | None = None) -> go.Figure:
    """MACs of each layer, split into V and U."""
    return _split_figure(card, other, "macs", "million MACs", "MACs of each layer, one image")


def params_figure(card: ModelCard, other: ModelCard | None = None) -> go.Figure:
    """Parameters of each layer, split into V and U."""
    return _split_figure(card, other, "params", "million parameters", "Parameters of each layer")


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
        marker={"color": _GREY, "size": 13, "symbol": "diamond"},
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
            marker={"color": _MEASURED, "size": 13, "symbol": "x"},
            hovertemplate="<b>%{customdata}</b>, measured<br>%{x:.1f} MFLOPs<br>%{y:.2f} % error<extra></extra>",
        )
    if chosen.published:
        figure.add_scatter(
            x=[chosen.published_mflops],
            y=[getattr(chosen.published, metric)],
            customdata=[chosen.id],
            mode="markers",
            name="chosen model",
            marker={"color": "rgba(0,0,0,0)", "size": 22, "line": {"color": "#ef4444", "width": 3}},
            hoverinfo="skip",
        )
    else:
        mmacs = chosen.cost.macs / 1e6
        figure.add_vline(
            x=mmacs,
            line={"color": "#ef4444", "width": 2, "dash": "dot"},
            annotation={
                "text": "chosen: no published error",
                "font": {"color": "#ef4444"},
                "xanchor": "left",
                "yanchor": "bottom",
                "y": 1,
                "yref": "paper",
            },
        )
    figure.update_xaxes(title="MFLOPs for one image", range=[90, 790])
    figure.update_yaxes(title=f"{METRIC_NAMES[metric]} error{'' if measured else ' on ImageNet'}, %")
    name = METRIC_NAMES[metric].capitalize()
    return _styled(figure, f"{name} error against FLOPs", height=520)


def macs_summary(cost: NetworkCost) -> str:
    """One sentence that relates the network's MACs to the dense net's."""
    return (
        f"{cost.macs / 1e6:.2f} million MACs and {cost.params / 1e6:.2f} million parameters for one image, "
        f"{DENSE_MACS / cost.macs:.1f} × fewer MACs than the dense net of the same shape "
        f"({DENSE_MACS / 1e6:.0f} million)."
    )


def _split_figure(
    card: ModelCard, other: ModelCard | None, quantity: Literal["macs", "params"], unit: str, title: str
) -> go.Figure:
    figure = go.Figure()
    names = [cost.layer.name for cost in card.cost.layers]
    for model, group, colours in ((card, "chosen", (_V, _U)), (other, "other", (_V_OTHER, _U_OTHER))):
        if model is None:
            continue
        for factor, colour in zip(("v", "u"), colours, strict=True):
            parts = [getattr(cost, factor) for cost in model.cost.layers]
            figure.add_bar(
                x=names,
                y=[getattr(part, quantity) / 1e6 for part in parts],
                offsetgroup=group,
                name=f"{factor.upper()}, {short_name(model)}",
                marker_color=colour,
                customdata=[
                    (_shape(part.weight_shape), f"{cost.macs / 1e6:.2f}", f"{cost.params / 1e6:.3f}")
                    for part, cost in zip(parts, model.cost.layers, strict=True)
                ],
                hovertemplate="<b>%{x}</b> "
                + factor.upper()
                + " %{customdata[0]}<br>%{y:.3f} "
                + unit
                + "<br>layer: %{customdata[1]} M MACs, %{customdata[2]} M parameters<extra>"
                + short_name(model)
                + "</extra>",
            )
    figure.update_layout(barmode="stack")
    figure.update_yaxes(title=unit)
    return _styled(figure, title)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _styled(figure: go.Figure, title: str, height: int = 380) -> go.Figure:
    figure.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xref": "container", "pad": {"l": 12}},
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": _GREY, "family": "system-ui, sans-serif"},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0},
        hoverlabel={"font": {"size": 13}},
    )
    figure.update_xaxes(gridcolor=_GRID, zeroline=False, linecolor=_GRID)
    figure.update_yaxes(gridcolor=_GRID, zeroline=False, linecolor=_GRID)
    return figure
