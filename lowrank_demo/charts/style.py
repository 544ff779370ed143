"""What all figures share: colours, and a style that reads on light and dark pages alike.

Backgrounds are transparent. No grey has a contrast of 4.5 : 1 with both white and a dark page: text is dark enough for
white here, as in saved pictures, and the page's style sheet gives it the page's own text colour.
"""

from __future__ import annotations

import plotly.graph_objects as go

SCHEME_COLOURS = {"scheme_1": "#e07b1a", "scheme_2": "#3b82f6"}
MEASURED = "#16a34a"
MARKED = "rgba(239,68,68,0.12)"
CHOSEN = "#ef4444"
INK = "#5b6270"
GREY, GRID, FULL = "#808691", "rgba(128,134,145,0.25)", "rgba(128,134,145,0.22)"


def styled(figure: go.Figure, title: str, height: int = 380) -> go.Figure:
    """Give a figure its title and the common look, and return it."""
    figure.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xref": "container", "pad": {"l": 12}},
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "family": "system-ui, sans-serif"},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.28, "yanchor": "top", "x": 0},
        hoverlabel={"font": {"size": 13}},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, linecolor=GRID)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, linecolor=GRID)
    return figure
