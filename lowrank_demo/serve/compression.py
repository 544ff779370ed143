"""Compress the page's own files once each, and nothing else. Plain ASGI.

Gradio compresses scripts, style sheets and texts anew for every request: its largest script takes 0.12 s of processor
time, an uploaded text of 30 MB takes 0.8 s. It leaves alone what states an encoding.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import brotli
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .buffered import answer_of

_OWN = re.compile(r"/(assets|static)/.+\.(js|css|html|json|svg|txt|md)")
"""Paths of the files that come with Gradio: few, the same for everyone, and never changed while the app runs."""
_QUALITY = 4
"""As Gradio does."""


@dataclass(frozen=True)
class _File:
    """A compressed answer."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    etag: str


class Compression:
    """Answers with the page's own files, compressed and kept in memory; keeps Gradio from compressing other answers.

    Args:
        app: The application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._files: dict[str, _File] = {}
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request from memory, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        if scope["method"] == "GET" and _OWN.fullmatch(scope["path"]) and "br" in asked.get("accept-encoding", ""):
            file = self._files.get(scope["path"])
            if file is None:
                async with self._making:  # those who wait here find the file that the first of them had made
                    file = self._files.get(scope["path"]) or await self._made(scope, receive)
            if file:
                same = bool(file.etag) and asked.get("if-none-match") == file.etag
                await send(
                    {"type": "http.response.start", "status": 304 if same else 200, "headers": list(file.headers)}
                )
                await send({"type": "http.response.body", "body": b"" if same else file.body})
                return

        async def as_it_is(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                if "." in scope["path"]:
                    headers.setdefault("Content-Encoding", "identity")
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, as_it_is)

    async def _made(self, scope: Scope, receive: Receive) -> _File | None:
        """Return a file's compressed answer, which is kept; None if there is no such file."""
        # No header of this visitor's, such as a range, may decide what others get.
        scope = {**scope, "headers": [], "query_string": b""}
        status, headers, content = await answer_of(self._app, scope, receive)
        if status != 200:
            return None
        body = await asyncio.to_thread(brotli.compress, content, quality=_QUALITY)
        headers["Content-Encoding"] = "br"
        headers["Content-Length"] = str(len(body))
        headers["Vary"] = "Accept-Encoding"
        file = self._files[scope["path"]] = _File(tuple(headers.raw), body, headers.get("etag", ""))
        return file
