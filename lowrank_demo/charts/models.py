"""A model layer by layer: ranks, MACs and parameters."""

from __future__ import annotations

from typing import Literal

import plotly.graph_objects as go

from ..models.architecture import DENSE_MACS, LayerCost
from ..models.cards import ModelCard
from ..models.zoo import Zoo
from .style import FULL, GREY, MARKED, SCHEME_COLOURS, styled

_V, _U = "#14b8a6", "#8b5cf6"
_V_OTHER, _U_OTHER = "rgba(20,184,166,0.45)", "rgba(139,92,246,0.45)"


def ranks_figure(card: ModelCard, other: ModelCard | None = None, marked: int | None = None) -> go.Figure:
    """Draw each layer's learned rank as a share of its full rank, labelled with the rank, in front of the full rank.

    Args:
        card: The model.
        other: A model to draw beside it.
        marked: Number of a layer to mark, from 0.
    """
    figure = go.Figure()
    names = [cost.layer.name for cost in card.cost.layers]
    for model, group, colour in ((card, "chosen", SCHEME_COLOURS[card.scheme]), (other, "other", GREY)):
        if model is None:
            continue
        costs = model.cost.layers
        figure.add_bar(
            x=names,
            y=[100.0] * len(names),
            offsetgroup=group,
            marker_color=FULL,
            name="full rank",
            showlegend=model is card,
            hoverinfo="skip",
        )
        figure.add_bar(
            x=names,
            offsetgroup=group,
            y=[100 * cost.rank / cost.full_rank for cost in costs],
            text=[str(cost.rank) for cost in costs],
            textposition="outside",
            textangle=0,
            cliponaxis=False,
            marker_color=colour,
            name=model.title,
            meta={"full rank": [cost.full_rank for cost in costs]},
            customdata=[
                (cost.rank, cost.full_rank, _shape(cost.v.weight_shape), _shape(cost.u.weight_shape)) for cost in costs
            ],
            hovertemplate="<b>%{x}</b><br>rank %{customdata[0]} of %{customdata[1]} (%{y:.0f} %)"
            "<br>V %{customdata[2]}<br>U %{customdata[3]}<extra>" + model.title + "</extra>",
        )
    if marked is not None:
        figure.add_vrect(marked - 0.5, marked + 0.5, fillcolor=MARKED, line_width=0, layer="below")
    figure.update_layout(barmode="overlay", meta={"label": "rank"})
    figure.update_xaxes(title="layer")
    figure.update_yaxes(title="rank, % of full rank", range=[0, 112], tickvals=[0, 25, 50, 75, 100])
    return styled(figure, "Learned rank of each layer")


def macs_figure(card: ModelCard, other: ModelCard | None = None) -> go.Figure:
    """Draw the MACs of each layer, split into V and U."""
    return _split_figure(card, other, "macs", "MFLOPs", "MFLOPs of each layer, one image")


def params_figure(card: ModelCard, other: ModelCard | None = None) -> go.Figure:
    """Draw the parameters of each layer, split into V and U."""
    return _split_figure(card, other, "params", "million parameters", "Parameters of each layer")


def macs_summary(card: ModelCard, zoo: Zoo) -> str:
    """Return a sentence that compares the network's cost with the dense network's and the paper's reference's."""
    mflops, reference = zoo.mflops(card), zoo.reference
    times = f", {reference.mflops / mflops:.1f}× as many" if mflops else ""
    return (
        f"{mflops} MFLOPs for one image, and {card.cost.params / 1e6:.2f} million parameters with batch normalisation. "
        f"{reference.name}, which the paper compares with and whose convolutions are split into groups, has "
        f"{reference.mflops:.0f}{times}; the same network before it was factored has {DENSE_MACS / 1e6:,.0f}."
    )


def layer_summary(cost: LayerCost) -> str:
    """Return a sentence on one layer: its rank, its two factors and their cost."""
    return (
        f"**{cost.layer.name}**: rank {cost.rank} of {cost.full_rank}; V is {_shape(cost.v.weight_shape)}, "
        f"{cost.v.macs / 1e6:.1f} MFLOPs; U is {_shape(cost.u.weight_shape)}, {cost.u.macs / 1e6:.1f} MFLOPs."
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
                name=f"{factor.upper()}, {model.title}",
                marker_color=colour,
                customdata=[
                    (_shape(part.weight_shape), f"{cost.macs / 1e6:.2f}", f"{cost.params / 1e6:.3f}")
                    for part, cost in zip(parts, model.cost.layers, strict=True)
                ],
                hovertemplate="<b>%{x}</b> "
                + factor.upper()
                + " %{customdata[0]}<br>%{y:.3f} "
                + unit
                + "<br>layer: %{customdata[1]} MFLOPs, %{customdata[2]} M parameters<extra>"
                + model.title
                + "</extra>",
            )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="layer")
    figure.update_yaxes(title=unit)
    return styled(figure, title)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
