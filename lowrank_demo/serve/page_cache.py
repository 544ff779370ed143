"""Keep the page for a minute: Gradio would take 30 ms to make it again for everyone who opens it. Plain ASGI."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = 60.0
_MOST = 16
"""Pages to keep, 180 kB each: one for each address at which visitors reach the server."""
_MOST_BYTES = 300_000
"""Largest page to keep, in bytes: a made-up address of 60 kB would give a page of 2.6 MB."""
_READ = (b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
"""Headers from which Gradio makes the page's own address."""
_OTHER_PAGES = frozenset({"deep_link", "page"})
"""Query parameters that make Gradio write another page."""


@dataclass(frozen=True)
class _Page:
    """An answer, and the moment at which it expires, by ``time.monotonic``."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    until: float


class PageCache:
    """Answers ``/`` with the page that the same address got before.

    There are no accounts, so the page depends on its address alone.

    Args:
        app: The application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._pages: OrderedDict[object, _Page] = OrderedDict()
        """The least recently used first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request from memory, or pass it on."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        if path != "/" or not _OTHER_PAGES.isdisjoint(QueryParams(scope["query_string"])):
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name in _READ]
        address = scope["scheme"], scope.get("server"), scope.get("root_path"), tuple(headers)
        page = self._pages.get(address)
        if page and page.until > time.monotonic():
            self._pages.move_to_end(address)
            await send({"type": "http.response.start", "status": 200, "headers": list(page.headers)})
            await send({"type": "http.response.body", "body": page.body})
            return
        status, answered, body = 0, (), b""

        async def noting(message: Message) -> None:
            nonlocal status, answered, body
            if message["type"] == "http.response.start":
                status, answered = message["status"], tuple(message["headers"])
            else:
                body += message.get("body", b"")
            await send(message)

        # Nothing else from this visitor's request may get into the page that others see.
        await self._app({**scope, "headers": headers, "query_string": b""}, receive, noting)
        if status == 200 and len(body) <= _MOST_BYTES:
            self._pages[address] = _Page(answered, body, time.monotonic() + _SECONDS)
            self._pages.move_to_end(address)
            if len(self._pages) > _MOST:
                self._pages.popitem(last=False)
