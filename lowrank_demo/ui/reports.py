"""The address of a validation's report: the file is made when it is fetched, and never written to disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..charts.report_page import report_page
from ..errors import UnknownJob
from ..models.zoo import Zoo
from ..serve.validations import Validations
from ..validate.report import Report, dump_json, report_csv

KINDS = {"csv": "CSV", "json": "JSON", "html": "report"}
"""File extensions, and what people call the files."""
_TYPES = {"csv": "text/csv", "json": "application/json", "html": "text/html"}


def report_address(job_id: str, kind: str) -> str:
    """Return the address of a report, relative to the page's own."""
    return f"validation/{job_id}.{kind}"


def report_file_name(report: Report, kind: str) -> str:
    """Return the name that a report is saved under."""
    return f"{Path(report.file).stem}-validation.{kind}"


def report_route(validations: Validations, zoo: Zoo) -> Route:
    """Return the route that answers :func:`report_address`; the id in it is a secret."""
    makers: dict[str, Callable[[Report], str]] = {
        "csv": report_csv,
        "json": dump_json,
        "html": lambda report: report_page(report, zoo),
    }

    def answer(request: Request) -> Response:
        job_id, kind = request.path_params["job_id"], request.path_params["kind"]
        try:
            report = validations.status(job_id).report
        except UnknownJob as error:
            return PlainTextResponse(str(error), 404)
        if kind not in makers:
            return PlainTextResponse(f"There is no report of the kind {kind[:20]!r}; expected csv, json or html.", 404)
        if report is None or not report.count:
            return PlainTextResponse("This validation has no report: it has not ended, or it measured no image.", 404)
        name = quote(report_file_name(report, kind))
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Cache-Control": "no-store"}
        return Response(makers[kind](report), media_type=_TYPES[kind], headers=headers)

    return Route("/validation/{job_id}.{kind}", answer)
