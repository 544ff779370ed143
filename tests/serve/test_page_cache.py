"""The page from memory, and what must not come from there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from lowrank_demo.serve.page_cache import PageCache


class Page:
    """An app whose every answer is another, behind the cache."""

    def __init__(self, status: int = 200, more: str = "") -> None:
        self.status = status
        self.more = more
        self.written = 0
        self.scope: Scope = {}
        self._cache = PageCache(self._write)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.written += 1
        self.scope = scope
        await Response(f"page {self.written}{self.more}", self.status, {"X-Number": str(self.written)})(
            scope, receive, send
        )

    def get(self, path: str = "/", query: bytes = b"", method: str = "GET", **headers: str) -> bytes:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            # As the layers in front of it do.
            message.get("headers", []).append((b"x-more", b"1"))
            sent.append(message)

        said = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope: Any = {"type": "http", "method": method, "path": path, "query_string": query, "scheme": "http"}
        asyncio.run(self._cache({**scope, "headers": said}, None, send))  # pyright: ignore[reportArgumentType]
        assert sent[0]["headers"].count((b"x-more", b"1")) == 1
        assert (b"x-number", sent[1]["body"].split()[1]) in sent[0]["headers"]
        return sent[1]["body"]


def test_each_address_has_its_page() -> None:
    page = Page()
    assert page.get(host="a") == page.get(host="a", query=b"tab=ranks", user_agent="other") == b"page 1"
    assert page.get(host="b") == b"page 2"
    assert page.get(host="a", x_forwarded_host="c") == b"page 3"
    assert page.get(host="a", x_forwarded_proto="https") == b"page 4"
    assert page.get(host="a", x_forwarded_for="1.2.3.4") == b"page 1"


def test_nothing_else_of_a_request_reaches_the_page() -> None:
    page = Page()
    page.get(query=b"with=<b>", host="a", cookie="token=1", x_forwarded_proto="https")
    assert page.scope["query_string"] == b""
    assert page.scope["headers"] == [(b"host", b"a"), (b"x-forwarded-proto", b"https")]


def test_what_is_not_kept() -> None:
    page = Page()
    requests: list[dict[str, Any]] = [
        {"path": "/config"},
        {"method": "HEAD"},
    ]
    for request in requests:
        first = page.get(**request)
        assert page.get(**request) != first
    failing = Page(500)
    failing.get()
    assert failing.get() == b"page 2"
    large = Page(more=" " * 1_000_000)
    large.get()
    assert large.get().split()[1] == b"2"


@pytest.mark.parametrize("query", [b"deep_link=x", b"page=x"])
def test_what_gradio_would_write_other_pages_for_changes_nothing(query: bytes) -> None:
    page = Page()
    assert page.get(query=query) == page.get() == b"page 1"
    assert page.scope["query_string"] == b""


def test_visitors_at_once_share_one_page_and_wait_for_no_reader() -> None:
    written, sent = 0, 0

    async def write(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal written
        written += 1
        await asyncio.sleep(0.05)
        await Response("page")(scope, receive, send)

    async def read(message: Message) -> None:
        nonlocal sent
        sent += message["type"] == "http.response.body"

    async def read_nothing(_: Message) -> None:
        await asyncio.sleep(60)

    async def all_at_once() -> None:
        cache = PageCache(write)
        scope: Any = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "scheme": "http"}
        never: Any = None
        slow = asyncio.create_task(cache({**scope, "headers": []}, never, read_nothing))
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*(cache({**scope, "headers": []}, never, read) for _ in range(20))), 5)
        slow.cancel()

    asyncio.run(all_at_once())
    assert (written, sent) == (1, 20)


def test_it_is_written_anew_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page()
    page.get()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 59)
    assert page.get() == b"page 1"
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert page.get() == b"page 2"


def test_few_are_kept() -> None:
    """Those that are asked for: made-up addresses drive out no other's page."""
    page = Page()
    for number in range(17):
        page.get(host=str(number))
        assert page.get(host="0") == b"page 1"
    assert page.get(host="16") == b"page 17"
    assert page.get(host="1") == b"page 18"
