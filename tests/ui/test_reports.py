"""A report's address: its file is made once, and sent in pieces."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lowrank_demo.errors import UnknownJob
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.serve.validations import ValidationStatus
from lowrank_demo.ui import reports
from lowrank_demo.validate.report import Report
from tests.helpers.examples import a_report


class Jobs:
    """Validations that have ended, all but ``running``."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.forgotten: set[str] = set()

    def status(self, job_id: str) -> ValidationStatus:
        if job_id in self.forgotten:
            raise UnknownJob("There is no validation with this id.")
        return ValidationStatus("done", "title", report=None if job_id == "running" else self.report)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each page that is made."""
    found: list[int] = []
    make = reports.report_page

    def counted(*arguments: Any) -> str:
        found.append(1)
        return make(*arguments)

    monkeypatch.setattr(reports, "report_page", counted)
    return found


def test_a_file_is_made_once(zoo: Zoo, made: list[int]) -> None:
    jobs: Any = Jobs(a_report(zoo))
    # One loop for all requests, as in the app.
    with TestClient(Starlette(routes=[reports.report_route(jobs, zoo)])) as client:
        with ThreadPoolExecutor(8) as visitors:
            answers = list(visitors.map(lambda _: client.get("/validation/a.html"), range(16)))
        assert len({answer.content for answer in answers}) == 1
        assert int(answers[0].headers["Content-Length"]) == len(answers[0].content) > 4_000_000
        assert len(made) == 1
        assert client.get("/validation/running.html").status_code == 404
        for job in "bcde":  # drive out the first
            client.get(f"/validation/{job}.html")
        client.get("/validation/a.html")
        assert len(made) == 6
        assert client.get("/validation/a.csv").text.count("\n") > 2
        assert client.get("/validation/a.json").json()["file"] == "<img src=x>.lmdb"
        jobs.forgotten.add("a")
        assert client.get("/validation/a.html").status_code == 404


def test_an_unread_file_holds_little(zoo: Zoo) -> None:
    """The server's own buffer got all of it at once."""
    jobs: Any = Jobs(a_report(zoo))
    app = Starlette(routes=[reports.report_route(jobs, zoo)])
    sizes: list[int] = []

    async def receive() -> Any:
        return await asyncio.sleep(60)

    async def send(message: Any) -> None:
        if body := message.get("body"):
            sizes.append(len(body))
            await asyncio.sleep(60)  # the visitor reads no more

    scope: Any = {"type": "http", "method": "GET", "path": "/validation/a.html", "headers": [], "query_string": b""}

    async def ask() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(app(scope, receive, send), 3)

    asyncio.run(ask())
    assert sizes == [64_000]
