"""Limits on one request: its size, the time it takes to arrive, and the disk space of all uploads. Plain ASGI.

Only uploads may be large. Any other body is JSON, which takes many times its size in memory once it is parsed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from .upload_form import UploadForm
from .upload_room import FILE_BYTES, UploadRoom

_MAX_MARKS = 50_000
"""Limit on commas, colons and opening brackets in a body other than an upload. No real request has so many."""

_UPLOAD = "/gradio_api/upload"
_ROUTES = re.compile(r"/gradio_api/(upload|queue/join|call/.+|cancel|reset|mcp(/.*)?)/?$")
"""Routes that take a body. Gradio has more, for recordings and for building apps: they have no limits of their own."""
_MAX_HELD = 400_000_000
"""Limit on the bytes of all JSON bodies that are arriving or being read."""
_JSON_SECONDS = 120.0
"""Longest time that a JSON body may take."""
_MAX_UPLOADS = 16
"""Uploads that may arrive at the same time; others wait for their turn."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]


class RequestLimits:
    """Refuses a body that is too large or too slow, and uploads for which there is no disk space.

    An upload that fails leaves nothing on the disk.

    Args:
        app: The application behind the limits.
        max_bytes: Largest body of an upload.
        max_json_bytes: Largest body of any other request.
        turn_seconds: Longest time that an upload waits for its turn.
        stall_seconds: Longest wait for the next chunk of a body.
        body_seconds: Longest time that a whole body may take.
        uploads: The folder of uploaded files. While a file arrives it lies in the folder itself, then in one below it.
        max_upload_bytes: Largest size of that folder; more is refused until old files have been deleted.
        also_kept: Returns the bytes of files that count as uploads but are kept elsewhere.
    """

    def __init__(
        self,
        app: _App,
        max_bytes: int,
        max_json_bytes: int,
        uploads: Path,
        max_upload_bytes: int,
        turn_seconds: float = 20.0,
        stall_seconds: float = 20.0,
        body_seconds: float = 900.0,
        also_kept: Callable[[], int] = lambda: 0,
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_json_bytes = max_json_bytes
        self._turn_seconds = turn_seconds
        self._stall_seconds = stall_seconds
        self._body_seconds = body_seconds
        self._room = UploadRoom(uploads, max_upload_bytes, also_kept)
        self._turns = asyncio.Semaphore(_MAX_UPLOADS)
        self._held = 0
        """Bytes of the JSON bodies that are arriving or being read."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Pass a request on, counting its body on the way."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if any(name.lower() == b"transfer-encoding" for name, _ in scope.get("headers", ())):
            # A chunked body may come in a million pieces, which take long to read. The connection ends: if the request
            # also states a length, a proxy may take what follows for the next request.
            sentence = "The request does not state its length; expected a Content-Length."
            await PlainTextResponse(sentence, 411, {"Connection": "close"})(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        if not _ROUTES.search(scope["path"]):
            refusal = PlainTextResponse("There is no such route; expected one of the API's.", 404)
            await refusal(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + min(self._body_seconds, _JSON_SECONDS)
        is_upload = str(scope["path"]).rstrip("/").endswith(_UPLOAD)
        most = self._max_bytes if is_upload else self._max_json_bytes
        seen, held, marks, complete = 0, 0, 0, False
        form: UploadForm | None = None

        async def limited() -> _Message:
            nonlocal seen, held, marks, complete, form
            if complete:
                # The next message is the end of the connection, which may be a long time away.
                return await receive()
            if is_upload and not form:
                form = UploadForm(Headers(scope=scope).get("content-type"))
                await self._room.take(0)
            left = deadline - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(self._stall_seconds, left)))
            except asyncio.TimeoutError as error:
                raise HTTPException(408, "The request came too slowly; use a faster connection.") from error
            body = message.get("body", b"")
            seen += len(body)
            if seen > most:
                instead = "send fewer or smaller files at once" if is_upload else "upload the photos instead"
                raise HTTPException(413, f"The request is larger than {most // 1_000_000} MB; {instead}.")
            if form:
                await self._room.take(len(body) + FILE_BYTES * form.check(body))
            else:
                held += len(body)
                self._held += len(body)
                if self._held > _MAX_HELD:
                    raise HTTPException(503, "Too many large requests are arriving; upload the photos instead.")
                marks += sum(map(body.count, (b",", b":", b"[", b"{")))
                if marks > _MAX_MARKS:
                    raise HTTPException(413, "The request has too many values; send fewer at once.")
            complete = not message.get("more_body", False)
            return message

        if is_upload:
            try:
                await asyncio.wait_for(self._turns.acquire(), self._turn_seconds)
            except asyncio.TimeoutError:
                refusal = PlainTextResponse("Too many uploads are arriving; try again in a minute.", 503)
                await refusal(scope, receive, send)
                return
            deadline = asyncio.get_running_loop().time() + self._body_seconds  # waiting for a turn does not count
            try:
                await self._pass_upload(scope, limited, send)
            finally:
                self._turns.release()
        else:
            try:
                await self._app(scope, limited, send)
            finally:
                self._held -= held

    async def _pass_upload(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Pass an upload on, and delete what it leaves if it is not answered with success."""
        status = 0

        async def noting(message: _Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if status or isinstance(error, HTTPException):
                raise
            # Gradio raises all kinds of errors if a form is not what it expects or the connection breaks.
            refusal = PlainTextResponse("The upload cannot be read; expected a form with only whole files.", 400)
            await refusal(scope, receive, noting)
        # Only now: the exception held the last reference that kept the files open.
        await self._room.delete_left()
