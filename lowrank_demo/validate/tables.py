"""A validation's errors and confusions as HTML tables, for the page and for the report file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..data.imagenet import classes
from .report import ModelResult, Report


def errors_table(results: Sequence[ModelResult]) -> str:
    """Return each model's errors, with the published errors and the differences in percentage points below.

    Args:
        results: The results of a pass that measured at least one image.
    """
    rows = "".join(
        f"<tr><th scope='row'>{escape(result.card.id).replace('/', '/<wbr>')}</th>"
        f"<td>{result.card.cost.macs / 1e6:.0f}</td>{_error(result, 0)}{_error(result, 1)}"
        f"<td>{result.loss:.3f}</td></tr>"
        for result in results
        if result.loss is not None
    )
    return (
        "<div class='lr-scroll'><table><thead><tr><th>model</th><th>MFLOPs</th><th>top-1 error</th><th>top-5 error</th>"
        f"<th>loss</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def confusions(report: Report, most: int | None = None) -> str:
    """Return a table of each model's most frequent confusions; empty if there are none.

    Args:
        report: A finished pass.
        most: The largest number of rows in a table; None shows all that the report lists.
    """
    labels = classes()
    tables: list[str] = []
    for model, pairs in report.confused.items():
        rows = "".join(
            f"<tr><td>{escape(labels[true].name)}</td><td>{escape(labels[predicted].name)}</td><td>{number:,}</td></tr>"
            for true, predicted, number in pairs[:most]
        )
        if rows:
            head = "<thead><tr><th>class</th><th>taken for</th><th>images</th></tr></thead>"
            tables.append(f"<table><caption>{escape(model)}</caption>{head}<tbody>{rows}</tbody></table>")
    return "".join(tables)


def _error(result: ModelResult, which: int) -> str:
    measured = (result.top1_error, result.top5_error)[which]
    below = "not published"
    if result.card.published and result.differences:
        published = (result.card.published.top1, result.card.published.top5)[which]
        below = f"published {published:.2f} ({result.differences[which]:+.2f})"
    return f"<td><b>{measured:.2f} %</b><small>{below}</small></td>"
