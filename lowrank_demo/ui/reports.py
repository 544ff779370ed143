"""The address of a validation's report: the file is made when it is first fetched, and never written to disk."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ..charts.report_page import report_page
from ..errors import UnknownJob
from ..models.zoo import Zoo
from ..serve.validations import Validations
from ..validate.report import Report, dump_json, report_csv

KINDS = {"csv": "CSV", "json": "JSON", "html": "report"}
"""File extensions, and what people call the files."""
_KEPT = 4
"""Files to keep: the largest takes 5 MB, and 0.1 s to make."""
_PIECE = 64_000
"""Bytes that are sent at a time: an unread connection holds few."""
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

    made: OrderedDict[tuple[str, str], bytes] = OrderedDict()
    making = asyncio.Lock()

    async def file_of(job_id: str, kind: str, report: Report) -> bytes:
        async with making:  # one at a time: making it takes a processor, and others ask for the same one
            content = made.pop((job_id, kind), None) or (await run_in_threadpool(makers[kind], report)).encode()
            made[job_id, kind] = content
            if len(made) > _KEPT:
                made.popitem(last=False)
        return content

    async def answer(request: Request) -> Response:
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
        content = await file_of(job_id, kind, report)
        headers["Content-Length"] = str(len(content))
        return StreamingResponse(_pieces(content), media_type=_TYPES[kind], headers=headers)

    return Route("/validation/{job_id}.{kind}", answer)


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), _PIECE):
        yield content[at : at + _PIECE]
