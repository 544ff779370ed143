"""Limit the requests answered at a time, so that a file descriptor is always left to accept the next. Plain ASGI."""

from __future__ import annotations

import contextlib

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_MOST_FILES = 65_536
_MOST_REQUESTS = 4_000
_MOST_PROGRESS = 32
"""Limit on requests for the progress of uploads: Gradio looks for news of each one twenty times a second."""


def raise_open_files() -> int:
    """Let this process open as many files as the system allows, connections included; return how many."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 2 * _MOST_REQUESTS
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
    if now == resource.RLIM_INFINITY or now >= wanted:
        return wanted
    while wanted > now:  # macOS allows less than it says
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            return wanted
        wanted //= 2
    return now


class ConnectionLimits:
    """Refuses requests while too many are being answered. Heartbeats may take only half of the places.

    Every open page holds a heartbeat: a request whose answer does not end.

    Args:
        app: The application behind.
        open_files: Files that this process may have open; half of them may be requests.
    """

    def __init__(self, app: ASGIApp, open_files: int) -> None:
        self._app = app
        self._most = min(open_files // 2, _MOST_REQUESTS)
        self._requests = self._heartbeats = self._progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if there is a place for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        heartbeat, progress = "/heartbeat/" in scope["path"], scope["path"].endswith("/upload_progress")
        if (
            self._requests >= self._most
            or (heartbeat and self._heartbeats >= self._most // 2)
            or (progress and self._progress >= _MOST_PROGRESS)
        ):
            headers = {"Connection": "close", "Retry-After": "60"}
            refusal = PlainTextResponse("Too many visitors are here; try again in a minute.", 503, headers)
            await refusal(scope, receive, send)
            return
        self._requests += 1
        self._heartbeats += heartbeat
        self._progress += progress
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1
            self._heartbeats -= heartbeat
            self._progress -= progress
