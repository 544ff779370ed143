"""The figure of the LeNet300 experiment."""

from __future__ import annotations

import plotly.graph_objects as go
import plotly.io

from ..reproduce.results import LEARNED, TRUNCATED, Network, Results
from ..runtime.words import counted
from .style import FULL, MEASURED, SCHEME_COLOURS, styled

_COLOURS = {LEARNED: SCHEME_COLOURS["scheme_1"], TRUNCATED: MEASURED}


def lenet300_page(results: Results) -> str:
    """Return the figure as an HTML page that needs no network."""
    return plotly.io.to_html(lenet300_figure(results), include_plotlyjs=True, config={"displaylogo": False})


def lenet300_figure(results: Results) -> go.Figure:
    """Draw the error of each network over its MACs."""
    dense = results.networks[0]
    drawn = go.Figure()
    for method, colour in _COLOURS.items():
        networks = [one for one in results.networks if one.method == method]
        drawn.add_scatter(
            x=[one.macs for one in networks],
            y=[one.error for one in networks],
            customdata=[[one.lambda_, _ranks(one)] for one in networks],
            mode="lines+markers",
            name=method,
            line={"color": colour},
            hovertemplate="<b>λ %{customdata[0]}</b>, %{x:,} MACs<br>error %{y:.2f} %<br>%{customdata[1]}"
            "<extra></extra>",
        )
    drawn.add_hline(
        y=dense.error,
        line={"color": FULL, "dash": "dash"},
        annotation={"text": f"reference: {dense.error:.2f} %, {dense.macs:,} MACs"},
    )
    drawn.update_xaxes(title="MACs for one image", type="log")
    drawn.update_yaxes(title="top-1 error, %")
    trained = counted(results.settings.epochs, "epoch")
    return styled(drawn, f"LeNet300 on {results.data}, {trained} in all", height=420)


def _ranks(network: Network) -> str:
    return ", ".join(f"{name} {rank}" for name, rank in network.ranks.items()) or "dense"
