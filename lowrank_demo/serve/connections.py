"""Limit the requests answered at a time, so that a file descriptor is always left to accept the next. Plain ASGI.

Also refuse what states its length in no way, or in two.
"""

from __future__ import annotations

import contextlib
from collections import Counter

from starlette.datastructures import QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_MOST_FILES = 65_536
_MOST_REQUESTS = 4_000
_MOST_STREAMS = 4
"""Limit on streams of answers to one session. A page has one at a time, and a lost one may not have ended yet."""
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
    """Refuses requests while too many are being answered.

    Some answers do not end. Every open page holds a heartbeat, which may take half of the places together. Whoever
    waits for answers holds a stream of them, which may take a quarter.

    Args:
        app: The application behind.
        open_files: Files that this process may have open; half of them may be requests.
    """

    def __init__(self, app: ASGIApp, open_files: int) -> None:
        self._app = app
        self._most = min(open_files // 2, _MOST_REQUESTS)
        self._requests = self._heartbeats = self._progress = 0
        self._streams: Counter[str] = Counter()
        """How many each session has."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if there is a place for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if any(name.lower() == b"transfer-encoding" for name, _ in scope.get("headers", ())):
            # A chunked body may come in a million pieces, which take long to read. The connection ends: if the request
            # also states a length, a proxy may take what follows for the next request.
            sentence = "The request does not state its length; expected a Content-Length."
            await PlainTextResponse(sentence, 411, {"Connection": "close"})(scope, receive, send)
            return
        heartbeat, progress = "/heartbeat/" in scope["path"], scope["path"].endswith("/upload_progress")
        session = _session_of_stream(scope)
        if (
            self._requests >= self._most
            or (heartbeat and self._heartbeats >= self._most // 2)
            or (progress and self._progress >= _MOST_PROGRESS)
            or (session is not None and self._streams[session] >= _MOST_STREAMS)
            or (session is not None and self._streams.total() >= self._most // 4)
        ):
            headers = {"Connection": "close", "Retry-After": "60"}
            refusal = PlainTextResponse("Too many visitors are here; try again in a minute.", 503, headers)
            await refusal(scope, receive, send)
            return
        self._requests += 1
        self._heartbeats += heartbeat
        self._progress += progress
        if session is not None:
            self._streams[session] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1
            self._heartbeats -= heartbeat
            self._progress -= progress
            if session is not None:
                self._streams[session] -= 1
                self._streams += Counter()  # forgets the sessions that have none


def _session_of_stream(scope: Scope) -> str | None:
    """Return whose stream of answers a request asks for; None for any other request."""
    path = scope["path"].rstrip("/")
    if path.endswith("/queue/data"):
        return QueryParams(scope["query_string"]).get("session_hash", "")
    # A call without a session of its own has its event's name.
    return path.rpartition("/")[2] if scope["method"] == "GET" and "/call/" in path else None
