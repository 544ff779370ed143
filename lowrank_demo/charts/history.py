"""A rank history as figures: how the ranks were learned."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.colors import qualitative

from ..lowrank.history import RankHistory
from ..models.architecture import LAYERS, full_rank
from ..runtime.words import lambda_text
from .style import CHOSEN, SCHEME_COLOURS, styled


def rank_history_figure(history: RankHistory) -> go.Figure:
    """Draw each layer's rank after every C step, as a share of its full rank."""
    figure = go.Figure()
    steps = [step.step for step in history.steps]
    for index, (layer, colour) in enumerate(zip(LAYERS, qualitative.D3, strict=False)):
        full = full_rank(layer, history.scheme)
        ranks = [step.ranks[index] for step in history.steps]
        figure.add_scatter(
            x=steps,
            y=[100 * rank / full for rank in ranks],
            customdata=[(rank, full, step.mu) for rank, step in zip(ranks, history.steps, strict=True)],
            mode="lines+markers",
            name=layer.name,
            line={"color": colour, "width": 2, "dash": "solid" if layer.kind == "conv" else "dot"},
            marker={"size": 5},
            hovertemplate="<b>" + layer.name + "</b>, LC step %{x}<br>rank %{customdata[0]} of %{customdata[1]}"
            "<br>μ %{customdata[2]:.3g}<extra></extra>",
        )
    figure.update_yaxes(title="rank, % of full rank", rangemode="tozero")
    title = f"Learned ranks, λ = {lambda_text(history.lambda_)}"
    return _by_step(styled(figure, title, height=430), len(history.steps))


def cost_history_figure(history: RankHistory) -> go.Figure:
    """Draw the MACs and the error of the network that each C step chose; a line marks the step that was kept.

    An older history has the error of the dense network instead.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[step.step for step in history.steps],
        y=[step.macs / 1e6 for step in history.steps],
        mode="lines+markers",
        name="MFLOPs",
        line={"color": SCHEME_COLOURS[history.scheme], "width": 2},
        hovertemplate="LC step %{x}<br>%{y:.1f} MFLOPs<extra></extra>",
    )
    compressed = any(step.compressed_error is not None for step in history.steps)
    errors = {step.step: step.compressed_error if compressed else step.top1_error for step in history.steps}
    measured = {step: error for step, error in errors.items() if error is not None}
    what = "of the compressed network" if compressed else "before factoring"
    figure.add_scatter(
        x=list(measured),
        y=list(measured.values()),
        mode="lines+markers",
        name="top-1 error, %",
        yaxis="y2",
        line={"color": CHOSEN, "width": 2, "dash": "dot"},
        hovertemplate=f"LC step %{{x}}<br>%{{y:.2f}} % top-1 error {what}<extra></extra>",
    )
    if history.best is not None:
        figure.add_vline(history.best, line={"color": CHOSEN, "width": 1}, annotation_text="kept")
    figure.update_yaxes(title="MFLOPs", rangemode="tozero")
    figure.update_layout(
        yaxis2={"title": "top-1 error, %", "overlaying": "y", "side": "right", "showgrid": False, "zeroline": False}
    )
    figure = _by_step(styled(figure, "Cost and error", height=430), len(history.steps))
    figure.update_layout(margin={"r": 60})
    return figure


def _by_step(figure: go.Figure, steps: int) -> go.Figure:
    """Put whole LC steps on the x axis and the legend below its title."""
    figure.update_xaxes(title={"text": "LC step", "standoff": 4}, tick0=0, dtick=max(1, steps // 8))
    figure.update_layout(legend={"y": -0.24}, margin={"b": 60})
    return figure
