"""What a C step keeps of a network: ranks, singular values with the last that is kept, and the whole path of λ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import qualitative

from ..models.architecture import LAYERS
from ..runtime.words import lambda_text
from .style import CHOSEN, FULL, SCHEME_COLOURS, styled

if TYPE_CHECKING:
    from torch import Tensor

    from ..lowrank.spectra import Spectra, Truncation

_LAMBDA_TICKS = (1e-6, 1e-5, 1e-4, 1e-3)

Change = tuple[dict[str, Any], dict[str, Any], list[int]]
"""Arguments of Plotly.update in the browser: new values for traces, for the layout, and which traces."""


def ranks_kept_figure(spectra: Spectra, truncation: Truncation) -> go.Figure:
    """Draw the rank that each layer keeps, as a share of the model's own rank."""
    names = [layer.name for layer in LAYERS]
    figure = go.Figure()
    figure.add_bar(x=names, y=[100.0] * len(names), marker_color=FULL, name="the model's own rank", hoverinfo="skip")
    figure.add_bar(
        x=names,
        **_kept(spectra, truncation),
        textposition="outside",
        textangle=0,
        cliponaxis=False,
        marker_color=SCHEME_COLOURS[spectra.scheme],
        name="kept",
        hovertemplate="<b>%{x}</b><br>rank %{customdata[0]} of %{customdata[1]}"
        "<br>%{customdata[2]:.2f} % of the energy<extra></extra>",
    )
    figure.update_layout(barmode="overlay", meta={"label": "rank"})
    figure.update_xaxes(title="layer")
    figure.update_yaxes(title="% of the model's rank", range=[0, 112], tickvals=[0, 25, 50, 75, 100])
    return styled(figure, "Rank that the C step keeps", height=430)


def spectra_figure(spectra: Spectra, truncation: Truncation) -> go.Figure:
    """Draw every layer's singular values relative to its largest, with a dot on the last one that is kept."""
    figure = go.Figure()
    for layer, values, colour in zip(LAYERS, spectra.values, qualitative.D3, strict=False):
        relative = _relative(values, values[0])
        figure.add_scatter(
            x=list(range(1, len(relative) + 1)),
            y=relative,
            mode="lines",
            name=layer.name,
            line={"color": colour, "width": 2, "dash": "solid" if layer.kind == "conv" else "dot"},
            hovertemplate="<b>" + layer.name + "</b>, component %{x}<br>%{y:.3g} of the largest<extra></extra>",
        )
    figure.add_scatter(
        **_last_kept(spectra, truncation),
        text=[layer.name for layer in LAYERS],
        mode="markers",
        name="last kept",
        showlegend=False,
        marker={
            "color": qualitative.D3[: len(LAYERS)],
            "size": 11,
            "line": {"color": "white", "width": 2},
        },
        hovertemplate="<b>%{text}</b>: the last component that is kept, rank %{x}<extra></extra>",
    )
    figure.update_layout(meta={"label": "layer"})
    figure.update_xaxes(title={"text": "component", "standoff": 4}, type="log", dtick=1)
    figure.update_yaxes(title="singular value / largest", type="log", range=[-3, 0.1], dtick=1)
    return styled(figure, "Singular values, and the last that is kept", height=430)


def path_figure(spectra: Spectra, path: Sequence[Truncation], now: Truncation) -> go.Figure:
    """Draw MFLOPs and every layer's rank along λ, as shares of the model's own; a line marks the present λ."""
    figure = go.Figure()
    lambdas = [truncation.lambda_ for truncation in path]
    for index, (layer, colour) in enumerate(zip(LAYERS, qualitative.D3, strict=False)):
        own = len(spectra.values[index])
        figure.add_scatter(
            x=lambdas,
            y=[round(100 * truncation.ranks[index] / own, 2) for truncation in path],
            customdata=[(lambda_text(one.lambda_), one.ranks[index]) for one in path],
            meta={"rank": [one.ranks[index] for one in path]},
            mode="lines",
            name=layer.name,
            line={"color": colour, "width": 1.5, "dash": "solid" if layer.kind == "conv" else "dot", "shape": "hv"},
            hovertemplate="<b>" + layer.name + "</b>, λ %{customdata[0]}<br>rank %{customdata[1]}<extra></extra>",
        )
    most = max(truncation.macs for truncation in path) or 1
    figure.add_scatter(
        x=lambdas,
        y=[round(100 * truncation.macs / most, 2) for truncation in path],
        customdata=[(lambda_text(one.lambda_), one.macs / 1e6) for one in path],
        meta={"MFLOPs": [round(one.macs / 1e6, 1) for one in path]},
        mode="lines",
        name="MFLOPs",
        line={"color": SCHEME_COLOURS[spectra.scheme], "width": 4},
        hovertemplate="λ %{customdata[0]}<br>%{customdata[1]:.0f} MFLOPs<extra></extra>",
    )
    figure.add_vline(x=now.lambda_, line={"color": CHOSEN, "width": 2, "dash": "dot"})
    figure.update_xaxes(
        title={"text": "λ, for each 10⁶ of cost", "standoff": 4},
        type="log",
        tickvals=_LAMBDA_TICKS,
        ticktext=[lambda_text(tick) for tick in _LAMBDA_TICKS],
    )
    figure.update_yaxes(title="% of the largest", rangemode="tozero")
    return styled(figure, "The path of λ", height=430)


def frame(spectra: Spectra, truncation: Truncation) -> tuple[Change, Change, Change]:
    """Return what turns the three figures of another truncation into those of this one, in the order of this module.

    A browser applies it in a fraction of the time that it takes to draw the figures anew.
    """
    kept, last = ({key: [values] for key, values in data(spectra, truncation).items()} for data in (_kept, _last_kept))
    line = {"shapes[0].x0": truncation.lambda_, "shapes[0].x1": truncation.lambda_}
    return (kept, {}, [1]), (last, {}, [len(LAYERS)]), ({}, line, [])


def _kept(spectra: Spectra, truncation: Truncation) -> dict[str, list[Any]]:
    """Return the data of the bars."""
    own = [len(values) for values in spectra.values]
    return {
        "y": [100 * rank / most for rank, most in zip(truncation.ranks, own, strict=True)],
        "text": [str(rank) for rank in truncation.ranks],
        "customdata": [
            (rank, most, energy * 100)
            for rank, most, energy in zip(truncation.ranks, own, truncation.energy, strict=True)
        ],
    }


def _last_kept(spectra: Spectra, truncation: Truncation) -> dict[str, list[Any]]:
    """Return the data of the dots; a layer that is dropped has none."""
    return {
        "x": [rank or None for rank in truncation.ranks],
        "y": [
            _relative(values[rank - 1 : rank], values[0])[0] if rank else None
            for values, rank in zip(spectra.values, truncation.ranks, strict=True)
        ],
    }


def _relative(values: Tensor, largest: Tensor) -> list[float]:
    """Return singular values of a layer relative to its largest."""
    return [round(value, 5) for value in (values / largest.clamp(min=1e-30)).tolist()]
