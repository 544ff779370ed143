"""Routes that visitors need, and those that Gradio has beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from lowrank_demo.serve.routes import KnownRoutes


def status_of(method: str, path: str, **more: str) -> int:
    sent: list[Message] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("passed on")(scope, receive, send)

    async def receive() -> Message:
        raise AssertionError("read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": [], **more}
    asyncio.run(KnownRoutes(behind)(scope, receive, send))
    if sent[0]["status"] == 404:
        assert sent[1]["body"] == b"There is no such route; expected one of the page or of its API."
    return sent[0]["status"]


@pytest.mark.parametrize(
    "path", ["/gradio_api/process_recording", "/gradio_api/component_server", "/gradio_api/vibe-edit/", "/login", "/"]
)
def test_bodies_go_only_where_there_are_limits(path: str) -> None:
    """Gradio writes what comes to some of them into files, which nothing deletes."""
    assert status_of("POST", path) == 404


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/deep_link",  # writes 200 kB for each call, which nothing deletes
        "/gradio_api/custom_component/1/client/x/\nforged",  # prints its path into the log
        "/gradio_api/heartbeat/a<gradio-sep>b",
        "/gradio_api/heartbeat/" + "a" * 101,
        "/gradio_api/proxy=x",
        "/gradio_api/stream/a/b/1/playlist.m3u8",
        "/gradio_api/token",
        "/gradio_api/user",
        "/gradio_api/runs",
        "/gradio_api/dev/reload",
        "/monitoring",
        "/monitoring/summary",
        "/login",
        "/logout",
        "/pwa_icon/100000",
        "/svelte/x.js",
        "/openapi.json",
        "/docs",
        "/config\n",
        "//",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_nobody_needs_is_refused(method: str, path: str) -> None:
    assert status_of(method, path) == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/theme.css",
        "/favicon.ico",
        "/manifest.json",
        "/assets/a/b.js",
        "/static/img/logo.svg",
        "/validation/abc.html",
        "/file=a/b.jpg",
        "/gradio_api/file=/tmp/a b.jpg",
        "/gradio_api/info",
        "/gradio_api/info/",
        "/gradio_api/openapi.json",
        "/gradio_api/queue/data",
        "/gradio_api/heartbeat/3f0c-a_1",
        "/gradio_api/call/classify/0af",
        "/gradio_api/call/v2/classify/0af",
        "/gradio_api/upload_progress",
        "/gradio_api/startup-events",
        "/gradio_api/mcp/",
        "/gradio_api/mcp/schema",
    ],
)
def test_what_visitors_need_is_passed_on(path: str) -> None:
    assert status_of("GET", path) == 200
    assert status_of("GET", "/below" + path, root_path="/below") == 200


def test_others_pass() -> None:
    assert status_of("POST", "/gradio_api/queue/join") == 200
    assert status_of("OPTIONS", "/anything") == 200, "a browser's question about origins, which has no body"
