"""The table and the figure of the LeNet300 experiment."""

from __future__ import annotations

import plotly.graph_objects as go

from ..charts.style import FULL, MEASURED, SCHEME_COLOURS, styled
from ..runtime.words import counted
from .results import LEARNED, TRUNCATED, Network, Results

_COLOURS = {LEARNED: SCHEME_COLOURS["scheme_1"], TRUNCATED: MEASURED}


def table(results: Results) -> str:
    """Return the networks as a table in Markdown."""
    dense = results.networks[0]
    layers = list(results.histories[0].steps[0].ranks) if results.histories else []
    rows = [
        "| λ | ranks chosen by | ranks | MACs | weights and biases | top-1 error, before fine-tuning | at the end |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results.networks:
        ranks = ", ".join(str(one.ranks.get(layer, "dense")) for layer in layers) if one.ranks else "dense"
        before = "" if one.error_before is None else f"{one.error_before:.2f} %"
        times = "" if one is dense else f" (÷ {dense.macs / one.macs:.1f})"
        lambda_ = "" if one.lambda_ is None else f"{one.lambda_:g}"
        rows.append(
            f"| {lambda_} | {one.method} | {ranks} | {one.macs:,}{times} | {one.storage:,} | {before} | "
            f"{one.error:.2f} % |"
        )
    return "\n".join(rows) + "\n"


def figure(results: Results) -> go.Figure:
    """Draw the error of each network over its MACs."""
    dense = results.networks[0]
    drawn = go.Figure()
    for method, colour in _COLOURS.items():
        networks = [one for one in results.networks if one.method == method]
        drawn.add_scatter(
            x=[one.macs for one in networks],
            y=[one.error for one in networks],
            customdata=[
                [one.lambda_, ", ".join(f"{name} {rank}" for name, rank in one.ranks.items())] for one in networks
            ],
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
