"""Protect the app's origin: every answer carries a security policy, and no address is fetched. Plain ASGI.

Gradio's file route would otherwise pass on what another server answers, even a page with scripts.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ADDRESS = re.compile(r"/(?:file[=/]|proxy=)\W*[a-z][a-z0-9+.-]+:", re.IGNORECASE)
"""A path of Gradio's routes for files, with an address where the file's own path should be. A single letter before the
colon is a Windows drive."""
_MAX_PATH = 1_000
"""Limit on the characters of a path, because Gradio repeats the path in its errors."""
_MAX_QUERY = 4_000
"""Limit on the characters of what follows the path, because Gradio keeps the names of uploads that it states."""
_NOT_A_PAGE = re.compile(r"/gradio_api/|/file=")
_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
# What a visitor opens beside the page, such as an uploaded SVG or a figure, runs nothing.
_FILE_POLICY = "default-src 'none'; sandbox"
# Gradio compiles the page's own JavaScript, hence unsafe-eval; it and Plotly write styles into elements. Photos that
# are dropped or shown are blob: and data: addresses. The gallery's Share button uploads to the Hub.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'{scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob: https://huggingface.co; manifest-src 'self'; base-uri 'self'; form-action 'none'"
)


class OriginPolicy:
    """Refuses addresses where a file is meant, and adds the headers that keep foreign scripts from running.

    It answers an error in the application with one sentence. A stream that has begun is closed instead.

    Args:
        app: The application behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        page: list[Message] = []
        started = streaming = False

        async def answer(message: Message) -> None:
            nonlocal started, streaming
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                headers["Content-Security-Policy"] = _FILE_POLICY
                message["headers"] = headers.raw
                streaming = headers.get("content-type", "").startswith("text/event-stream")
                is_page = not _NOT_A_PAGE.search(scope["path"])
                if is_page and headers.get("content-type", "").startswith("text/html"):
                    page.append(message)
                    return
            if page:
                # The policy of a page names its scripts by their digests, so it is sent once the page is whole.
                page.append(message)
                if message.get("more_body"):
                    return
                start, *parts = page
                body = b"".join(part.get("body", b"") for part in parts)
                page.clear()
                MutableHeaders(raw=start["headers"])["Content-Security-Policy"] = page_policy(body)
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        if len(scope["query_string"]) > _MAX_QUERY:
            refusal = PlainTextResponse(f"The address is too long; expected at most {_MAX_QUERY:,} after '?'.", 414)
            await refusal(scope, receive, answer)
            return
        if len(scope["path"]) > _MAX_PATH:
            refusal = PlainTextResponse(f"The address is too long; expected at most {_MAX_PATH:,} characters.", 414)
            await refusal(scope, receive, answer)
            return
        if _ADDRESS.search(scope["path"]):
            refusal = PlainTextResponse("No address is fetched here; expected the path of a file on this server.", 403)
            await refusal(scope, receive, answer)
            return
        try:
            await self._app(scope, receive, answer)
        except HTTPException:
            raise
        except Exception:
            logging.getLogger(__name__).exception("a request failed")
            if streaming:  # Gradio has sent what went wrong, and raises once more
                await send({"type": "http.response.body", "body": b""})
                return
            if started:
                raise
            refusal = PlainTextResponse(
                'The request could not be answered; expected one that this app knows: see "Use via API" on its page.',
                500,
            )
            await refusal(scope, receive, answer)


def page_policy(body: bytes) -> str:
    """Return the Content-Security-Policy of a page. It lets only the scripts run that are in the page now."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()) for script in _SCRIPT.findall(body)]
    return _PAGE_POLICY.format(scripts="".join(f" 'sha256-{digest.decode()}'" for digest in digests))
