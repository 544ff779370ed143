"""The endpoints as tools, asked by a real MCP client; the extra lies in a folder of its own, beside the rest."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.app import running_app
from tests.helpers.packages import MCP, installed
from tests.helpers.photos import photo_path

V5 = "bundled/scheme_2/v5"
ASK = """
import asyncio, json, sys
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

async def main():
    url = sys.argv[1] + "/gradio_api/mcp/"
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as s:
        await s.initialize()
        tools = {t.name: [t.description, t.inputSchema] for t in (await s.list_tools()).tools}
        answers = []
        for name, arguments in json.load(sys.stdin):
            answer = await s.call_tool(name, arguments)
            answers.append([bool(answer.isError), answer.content[0].text])
        print(json.dumps([tools, answers]))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def extra() -> Path:
    """Return the folder of the mcp extra."""
    return installed("mcp", *MCP)


def test_a_real_client(extra: Path, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(extra), os.environ.get("PYTHONPATH", "")])
    with running_app({"LOWRANK_CACHE_DIR": str(tmp_path), "PYTHONPATH": paths}, tmp_path / "log") as app:
        lion = base64.b64encode(photo_path("lion.jpg").read_bytes()).decode()
        calls = [
            ("ranks", {"model": "scheme_1/v2"}),
            ("ranks", {"model": "nobody's"}),
            ("classify", {"files": [f"data:image/jpeg;base64,{lion}"], "model": V5}),
            ("classify", {"files": [f"{app.url}/gradio_api/file=/etc/passwd"], "model": V5}),
            ("classify", {"files": ["http://127.0.0.1:9/photo.jpg"], "model": V5}),
            ("classify", {"files": ["data:image/jpeg;base64,!"], "model": V5}),
        ]
        asked = subprocess.run(
            [sys.executable, "-c", ASK, app.url],
            input=json.dumps(calls),
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert asked.returncode == 0, asked.stderr
        tools, (ranks, unknown, lions, outside, elsewhere, garbled) = json.loads(asked.stdout)
        names = {"classify", "ranks", "pareto", "models", "validate", "validation_status", "cancel_validation"}
        assert set(tools) == names, "helpers of the page are no tools"
        for description, schema in tools.values():
            assert description
            assert all(argument["description"] for argument in schema["properties"].values())
        assert not ranks[0]
        assert "'rank': 27" in ranks[1]
        assert unknown[0]
        assert unknown[1].startswith("There is no model")
        assert not lions[0], lions[1]
        assert "lion" in lions[1]
        for refused in (outside, elsewhere):
            assert refused[0]
            assert refused[1].startswith("The file was not uploaded here")
        assert garbled[0]
        assert garbled[1].startswith("The data of a photo is not base64")
