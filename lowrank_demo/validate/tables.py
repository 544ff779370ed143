"""A validation's errors and confusions as HTML tables, for the page and for the report file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..data.imagenet import classes
from ..models.cards import ModelCard
from ..models.zoo import Zoo
from .report import ModelResult, Report

MARGIN_NOTE = (
    "± is half of the 95 % Wilson interval: the uncertainty from measuring on these photos rather than on others of "
    "the same kind."
)


def errors_table(results: Sequence[ModelResult], zoo: Zoo) -> str:
    """Return each model's errors with their margins, and below them the published errors and the differences.

    Args:
        results: The results of a pass that measured at least one image.
        zoo: Has the models' MFLOPs.
    """
    rows = "".join(
        f"<tr><th scope='row'>{_name(result.card)}</th>"
        f"<td>{zoo.mflops(result.card)}</td>{_error(result, 0)}{_error(result, 1)}"
        f"<td>{result.loss:.3f}</td></tr>"
        for result in results
        if result.loss is not None
    )
    return (
        "<div class='lr-scroll'><table><thead><tr><th>model</th><th>MFLOPs</th><th>top-1 error</th><th>top-5 error</th>"
        f"<th>loss</th></tr></thead><tbody>{rows}</tbody></table></div><p class='lr-note'>{MARGIN_NOTE}</p>"
    )


def left_out_list(left_out: Sequence[tuple[str, str]]) -> str:
    """Return which models were not measured, and why; empty if all were."""
    if not left_out:
        return ""
    items = "".join(f"<li><b>{escape(model)}</b>: {escape(why)}</li>" for model, why in left_out)
    return f"<div class='lr-left-out'><p>Not measured, because the weights cannot be loaded:</p><ul>{items}</ul></div>"


def confusions(report: Report, most: int | None = None) -> str:
    """Return a table of each model's most frequent confusions; empty if there are none.

    Args:
        report: A finished pass.
        most: The largest number of rows in a table; None shows all that the report lists.
    """
    labels, cards = classes(), {result.card.id: result.card for result in report.models}
    tables: list[str] = []
    for model, pairs in report.confused.items():
        rows = "".join(
            f"<tr><td>{escape(labels[true].name)}</td><td>{escape(labels[predicted].name)}</td><td>{number:,}</td></tr>"
            for true, predicted, number in pairs[:most]
        )
        if rows:
            head = "<thead><tr><th>class</th><th>taken for</th><th>images</th></tr></thead>"
            title = cards[model].title
            tables.append(f"<table><caption>{escape(title)}</caption>{head}<tbody>{rows}</tbody></table>")
    return "".join(tables)


def _name(card: ModelCard) -> str:
    """Return a model's name with its id below, which may be broken into lines at its marks."""
    name = escape(card.id).replace("/", "/<wbr>").replace("@", "@<wbr>").replace("-", "-<wbr>")
    return f"{escape(card.title)}<small>{name}</small>"


def _error(result: ModelResult, which: int) -> str:
    measured, margins = (result.top1_error, result.top5_error)[which], result.margins
    below = "not published"
    if result.card.published and result.differences:
        published = (result.card.published.top1, result.card.published.top5)[which]
        below = f"published {published:.2f} ({result.differences[which]:+.2f})"
    spread = f" ± {margins[which]:.1f}" if margins else ""
    return f"<td><b>{measured:.2f} %</b>{spread}<small>{below}</small></td>"
