"""A validation job to what people read: progress, a table of errors, confusions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..data.imagenet import classes
from ..jobs import JobStatus
from ..report import ModelResult, Report
from .present import message


def job_view(status: JobStatus) -> str:
    """A validation: what is being done, a bar, and the errors measured so far beside the published ones."""
    name = escape(status.title)
    progress, report = status.progress, status.report
    share = progress.done / progress.total if progress else 0
    if status.state == "waiting":
        others = "validation comes" if status.place == 1 else "validations come"
        head = f"Waiting: {status.place} {others} before this one."
    elif status.state == "failed":
        return message(status.error)
    elif status.state == "running":
        head = f"Validating on {name}: {escape(status.doing) or (progress.text if progress else 'starting')}"
    elif status.state == "cancelled":
        head = f"Cancelled after {progress.done:,} of {progress.total:,} images." if progress else "Cancelled."
    elif report:
        rate, conditions = f"{report.images_per_second:,.0f} images/s", escape(str(report.conditions))
        head = f"Done: {name}, {report.count:,} images, {rate}, {conditions}."
    else:
        head = "Done."
    results = report.models if report else status.results
    unreadable = len(report.unreadable) if report else 0
    return (
        f'<div class="lr-job lr-{status.state}" role="status"><p>{head}</p>'
        f'<div class="lr-bar" role="progressbar" aria-label="images done" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><i style="width:{share:.1%}"></i></div>'
        + (_results_table(results) if results and results[0].count else "")
        + (f"<p>{unreadable} records could not be read and were left out.</p>" if unreadable else "")
        + (_confusions(report) if report and report.count else "")
        + "</div>"
    )


def _results_table(results: Sequence[ModelResult]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(result.card.id).replace('/', '/<wbr>')}</th><td>{result.count:,}</td>"
        f"{_error_cell(result, 0)}{_error_cell(result, 1)}<td>{_number(result.loss, '.3f')}</td></tr>"
        for result in results
    )
    return (
        "<div class='lr-scroll'><table><thead><tr><th>model</th><th>images</th><th>top-1 error</th><th>top-5 error</th>"
        f"<th>loss</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _error_cell(result: ModelResult, which: int) -> str:
    """The measured error, and below it the published one with the difference in percentage points."""
    measured = (result.top1_error, result.top5_error)[which]
    errors = result.card.published
    below = "not published"
    if errors and result.differences:
        below = f"published {(errors.top1, errors.top5)[which]:.2f} ({result.differences[which]:+.2f})"
    return f"<td><b>{_number(measured, '.2f')} %</b><small>{below}</small></td>"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _confusions(report: Report) -> str:
    """What each model confused most often, folded away."""
    names = classes()
    lists = "".join(
        f"<p><b>{escape(model)}</b>: "
        + (
            "; ".join(
                f"{escape(names[true].name)} taken for {escape(names[predicted].name)} ({number}×)"
                for true, predicted, number in pairs[:5]
            )
            or "nothing"
        )
        + "</p>"
        for model, pairs in report.confused.items()
    )
    return f"<details><summary>Most confused classes</summary>{lists}</details>"
