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


def test_heartbeats_leave_half_of_the_places() -> None:
    found: list[int] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await PlainTextResponse("done")(scope, receive, send)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    limited = ConnectionLimits(behind, open_files=20)

    async def ask(path: str, count: int) -> None:
        asked = {"type": "http", "path": path}
        await asyncio.gather(*[limited(asked, receive, send) for _ in range(count)])

    async def ask_all() -> None:
        await asyncio.gather(ask("/gradio_api/heartbeat/a", 9), ask("/config", 6))

    for _ in range(2):  # the places are given back
        asyncio.run(ask_all())
        assert (found.count(200), found.count(503)) == (10, 5)
        found.clear()


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
