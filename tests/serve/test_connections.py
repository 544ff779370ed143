"""How many requests are answered at a time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from lowrank_demo.serve.connections import ConnectionLimits
from tests.helpers.paths import ROOT


def asked(waves: list[tuple[str, int]], open_files: int) -> list[int]:
    """Ask for so many of these addresses at the same time; return the statuses of the answers."""
    found: list[int] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await PlainTextResponse("done")(scope, receive, send)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    limited = ConnectionLimits(behind, open_files)

    async def ask(address: str) -> None:
        path, _, query = address.partition("?")
        scope: Any = {"type": "http", "method": "GET", "path": path, "query_string": query.encode()}
        await limited(scope, receive, send)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(address) for address, count in waves for _ in range(count)))

    asyncio.run(ask_all())
    first = sorted(found)
    found.clear()
    asyncio.run(ask_all())
    assert sorted(found) == first, "the places are given back"
    return first


def test_heartbeats_leave_half_of_the_places() -> None:
    assert asked([("/gradio_api/heartbeat/a", 9), ("/config", 6)], 20) == [200] * 10 + [503] * 5


def test_a_session_has_few_streams() -> None:
    """2,100 of one session, which did not end, took the places of everybody."""
    spellings = ["/gradio_api/queue/data?session_hash=a", "/gradio_api/queue/data?x=1&session%5Fhash=%61"]
    assert asked([(address, 3) for address in spellings], 1000) == [200] * 4 + [503] * 2
    assert asked([("/gradio_api/call/classify/e", 5), ("/gradio_api/call/classify/f", 1)], 1000) == [200] * 5 + [503]


def test_streams_leave_three_quarters_of_the_places() -> None:
    streams = [(f"/gradio_api/queue/data?session_hash={number}", 1) for number in range(15)]
    assert asked([*streams, ("/config", 5)], 80) == [200] * 15 + [503] * 5


@pytest.mark.parametrize("most", [1024, 512, 256])
def test_open_files_are_raised_to_the_most(most: int) -> None:
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, {most})); "
        "from lowrank_demo.serve.connections import raise_open_files; "
        "print(raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    stated, now = map(int, said.split())
    assert stated == now == most
