"""Keep the page for a minute: Gradio would take 30 ms to make it again for everyone who opens it. Plain ASGI."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from .buffered import answer_of

_SECONDS = 60.0
_MOST = 16
"""Pages to keep, 330 kB each: one for each address at which visitors reach the server."""
_MOST_BYTES = 1_000_000
"""Largest page to keep, in bytes: a made-up address of 60 kB would give a page of 2.6 MB."""
_READ = (b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
"""Headers from which Gradio makes the page's own address."""


@dataclass(frozen=True)
class _Page:
    """An answer, and the moment at which it expires, by ``time.monotonic``."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    until: float


class PageCache:
    """Answers ``/`` with the page that the same address got before.

    There are no accounts, and Gradio's links to a page's state are not offered, so the page depends on its address
    alone.

    Args:
        app: The application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._pages: OrderedDict[object, _Page] = OrderedDict()
        """The least recently used first."""
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request from memory, or pass it on."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name in _READ]
        address = scope["scheme"], scope.get("server"), scope.get("root_path"), tuple(headers)
        if (page := self._kept(address)) is None:
            async with self._making:  # those who wait here find the page that the first of them had made
                # Nothing else from this visitor's request may get into the page that others see.
                page = self._kept(address) or await self._made(
                    address, {**scope, "headers": headers, "query_string": b""}, receive
                )
        # Not while others wait: this visitor may read slowly.
        await send({"type": "http.response.start", "status": page.status, "headers": list(page.headers)})
        await send({"type": "http.response.body", "body": page.body})

    def _kept(self, address: object) -> _Page | None:
        page = self._pages.get(address)
        if page is None or page.until <= time.monotonic():
            return None
        self._pages.move_to_end(address)
        return page

    async def _made(self, address: object, scope: Scope, receive: Receive) -> _Page:
        status, headers, body = await answer_of(self._app, scope, receive)
        page = _Page(status, tuple(headers.raw), body, time.monotonic() + _SECONDS)
        if status == 200 and len(body) <= _MOST_BYTES:
            self._pages[address] = page
            self._pages.move_to_end(address)
            if len(self._pages) > _MOST:
                self._pages.popitem(last=False)
        return page
