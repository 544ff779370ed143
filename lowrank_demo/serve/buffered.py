"""An answer of the application behind, whole, for what keeps answers. Plain ASGI."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope


async def answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[int, MutableHeaders, bytes]:
    """Return an application's answer to a request: status, headers, body."""
    status, headers, parts = 500, MutableHeaders(), []

    async def note(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], MutableHeaders(raw=list(message["headers"]))
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, note)
    return status, headers, b"".join(parts)
