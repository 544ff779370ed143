"""A validation as people see it: progress, a table of errors, confusions, and its report to download."""

from __future__ import annotations

from html import escape

from ..models.zoo import Zoo
from ..runtime.words import counted
from ..serve.validations import ValidationStatus
from ..validate.report import Report
from ..validate.tables import confusions, errors_table, left_out_list
from .present import message
from .reports import KINDS, report_address, report_file_name

_MOST_CONFUSED = 5


def job_view(status: ValidationStatus, job_id: str, zoo: Zoo) -> str:
    """Return what is being done, a progress bar, the errors beside the published ones, and links to the report.

    Args:
        status: The validation.
        job_id: Its id.
        zoo: Has the models' names.
    """
    name = escape(status.title)
    progress, report = status.progress, status.report
    share = progress.done / progress.total if progress else 0
    if status.state == "waiting":
        others = "validation comes" if status.place == 1 else "validations come"
        head = f"Waiting to validate on {name}: " + (
            f"{status.place} {others} first." if status.place else "it is next."
        )
    elif status.state == "failed":
        return message(f"The validation on {status.title} failed. {status.error}")
    elif status.state == "running":
        head = f"Validating on {name}: {escape(status.doing) or (progress.text if progress else 'starting')}"
    elif status.state == "cancelled":
        head = f"Cancelled after {progress.done:,} of {progress.total:,} photos" if progress else "Cancelled"
        head += f" of {name}{f', {report.date}' if report else ''}."
    elif report:
        head = (
            f"Done: {name}, {counted(report.count, 'photo')}, {report.date}, {report.rate}, "
            f"{escape(str(report.conditions))}."
        )
    else:
        head = "Done."
    results = report.models if report else status.results
    confused = confusions(report, _MOST_CONFUSED) if report else ""
    unreadable = len(report.unreadable) if report else 0
    return (
        f'<div class="lr-job lr-{status.state}" role="status"><p>{head}</p>'
        f'<div class="lr-bar" role="progressbar" aria-label="photos done" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><i style="width:{share:.1%}"></i></div>'
        + left_out_list(status.left_out)
        + (errors_table(results, zoo) if results and results[0].count else "")
        + (f"<p>Photos that could not be read, and were left out: {unreadable:,}.</p>" if unreadable else "")
        + (confused and f"<details><summary>Most confused classes</summary>{confused}</details>")
        + (_downloads(report, job_id) if report and report.count else "")
        + "</div>"
    )


def _downloads(report: Report, job_id: str) -> str:
    links = "".join(
        f'<a id="lr-{name.lower()}" href="{escape(report_address(job_id, kind))}" '
        f'download="{escape(report_file_name(report, kind))}">Download {name}</a>'
        for kind, name in KINDS.items()
    )
    return f'<p class="lr-downloads">{links}</p>'
