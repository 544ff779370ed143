"""What all figures share: colours, and a style that reads on light and dark pages alike.

Backgrounds are transparent and text is mid-grey.
"""

from __future__ import annotations

import plotly.graph_objects as go

SCHEME_COLOURS = {"scheme_1": "#e07b1a", "scheme_2": "#3b82f6"}
MEASURED = "#16a34a"
CHOSEN = "#ef4444"
GREY, GRID, FULL = "#808691", "rgba(128,134,145,0.25)", "rgba(128,134,145,0.22)"


def styled(figure: go.Figure, title: str, height: int = 380) -> go.Figure:
    """The figure with its title and the look that all share."""
    figure.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xref": "container", "pad": {"l": 12}},
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY, "family": "system-ui, sans-serif"},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0},
        hoverlabel={"font": {"size": 13}},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, linecolor=GRID)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, linecolor=GRID)
    return figure
