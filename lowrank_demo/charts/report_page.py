"""A validation's report as one HTML file that needs neither server nor network."""

from __future__ import annotations

from html import escape

import plotly.graph_objects as go
import plotly.io

from ..data.imagenet import classes
from ..models.zoo import Zoo
from ..runtime.words import counted
from ..validate.report import Report
from ..validate.tables import confusions, errors_table, left_out_list
from .pareto import pareto_figure
from .points import of_reports
from .style import styled

_WORST = 40
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: #1f2937; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
div:has(> table) { overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #d1d5db; text-align: right; }
th:first-child, td:first-child { text-align: left; } tbody th { font-weight: normal; }
small { display: block; } small, caption, .lr-note { color: #6b7280; } caption { text-align: left; }
@media (prefers-color-scheme: dark) {
  body { background: #0b0f19; color: #e5e7eb; } th, td { border-color: #374151; }
  small, caption, .lr-note { color: #9ca3af; }
  .main-svg g:not(.hovertext) > text { fill: #e5e7eb !important; }
}
"""


def report_page(report: Report, zoo: Zoo) -> str:
    """Return the page: errors beside the published ones, the Pareto plot, classes and confusions.

    Args:
        report: The report. Of a pass that was stopped before its first image, the page has no figures.
        zoo: Has the published errors.
    """
    measured = of_reports([report])
    figures = [pareto_figure(zoo, measured[0], "top1"), _classes_figure(report)] if measured else []
    drawn = "".join(
        plotly.io.to_html(figure, full_html=False, include_plotlyjs=number == 0, config={"displaylogo": False})
        for number, figure in enumerate(figures)
    )
    state = "" if report.complete else f", stopped before the end of its {report.total:,} records"
    confused = confusions(report)
    unreadable = f" Records that could not be read: {len(report.unreadable):,}." if report.unreadable else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(report.file)}: validation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>Validation on {escape(report.file)}</h1>"
        f"<p>{report.date}: {counted(report.count, 'image')}{state}, {report.rate}, "
        f"{escape(str(report.conditions))}.{unreadable}</p>"
        f"{left_out_list(report.left_out)}{errors_table(report.models, zoo)}{drawn}"
        f"{confused and f'<h2>Most confused classes</h2>{confused}'}</body></html>"
    )


def _classes_figure(report: Report) -> go.Figure:
    """Draw the classes with the first model's largest errors, and every model's error on them."""
    labels = classes()
    counts, first = report.class_count, report.class_right[report.models[0].card.id][0]
    worst = sorted(counts, key=lambda i: (first[i] / counts[i], -counts[i]))[:_WORST]
    figure = go.Figure()
    for result in report.models:
        right = report.class_right[result.card.id][0]
        figure.add_bar(
            x=[f"{labels[i].name} ({counts[i]:,})" for i in worst],
            y=[100 * (1 - right[i] / counts[i]) for i in worst],
            name=result.card.title,
        )
    figure.update_yaxes(title="top-1 error, %", range=[0, 100])
    figure.update_xaxes(tickangle=-60, automargin=True)
    shown = "The classes" if len(worst) < _WORST else f"The {_WORST} classes with the largest error"
    styled(figure, f"{shown}, with their number of images", height=480)
    # Class names hang below the axis, where other figures have their legend, so the legend goes above.
    return figure.update_layout(legend={"y": 1.02, "yanchor": "bottom"}, margin={"t": 65 + 20 * len(report.models)})
