"""The routes that visitors need; Gradio has more. Plain ASGI.

The others write files that nothing deletes, print what a visitor sends into the log, or are for building apps.
"""

from __future__ import annotations

import re

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SESSION = r"[A-Za-z0-9_-]{1,100}"
"""A session's name: letters, digits, hyphens and underscores."""
_TAKE = re.compile(r"/gradio_api/(upload|queue/join|call/.+|cancel|reset|mcp(/.*)?)/?")
"""Routes that take a body."""
_GIVE = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?"
    r"|/(static|assets)/.+"
    r"|/validation/.+"
    r"|(/gradio_api)?/file[=/].+"
    r"|/gradio_api/(info|openapi\.json|app_id|login_check|startup-events|theme\.css)/?"
    r"|/gradio_api/(queue/(data|status)|upload_progress)"
    rf"|/gradio_api/(heartbeat/{SESSION}|call/.+)"
    r"|/gradio_api/mcp(/.*)?"
)
"""Routes that only answer. Those of the page come first, then reports, files, what clients ask about the API, answers,
and tools for language models."""


class KnownRoutes:
    """Refuses every route that neither the page nor a client of the API needs.

    Args:
        app: The application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its route is known."""
        if scope["type"] == "http" and scope["method"] != "OPTIONS":
            known = _GIVE if scope["method"] in ("GET", "HEAD") else _TAKE
            path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) or "/"
            if not known.fullmatch(path):
                refusal = PlainTextResponse("There is no such route; expected one of the page or of its API.", 404)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
