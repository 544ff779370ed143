"""The page, kept for a minute: Gradio writes it anew, in 30 ms, for everyone who opens it. Plain ASGI."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = 60.0
_MOST = 16
"""Pages to keep: one for each address under which visitors know the server, 180 kB."""
_MOST_BYTES = 300_000
"""Bytes of a page to keep: a made-up address of 60 kB makes one of 2.6 MB."""
_READ = (b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
"""Headers that Gradio makes the page's own address of."""
_OTHER_PAGES = frozenset({"deep_link", "page"})
"""Parameters by which Gradio writes another page."""


@dataclass(frozen=True)
class _Page:
    """An answer, and when it is written anew, by ``time.monotonic``."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    until: float


class PageCache:
    """Answers ``/`` with what the same address was answered before.

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

        # Nothing else of this visitor's request gets into what others are answered.
        await self._app({**scope, "headers": headers, "query_string": b""}, receive, noting)
        if status == 200 and len(body) <= _MOST_BYTES:
            self._pages[address] = _Page(answered, body, time.monotonic() + _SECONDS)
            self._pages.move_to_end(address)
            if len(self._pages) > _MOST:
                self._pages.popitem(last=False)
