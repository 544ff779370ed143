"""Limits on one request: its size, the time it takes to arrive, and the disk space of all uploads. Plain ASGI.

Only uploads may be large. Any other body is JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from .arrival import JsonBody, JsonRoom, Pace, too_slow
from .upload_form import UploadForm
from .upload_room import FILE_BYTES, UploadRoom

_UPLOAD = "/gradio_api/upload"
_JSON_SECONDS = 120.0
"""Longest time that a JSON body may take."""
_MAX_UPLOADS = 64
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
        self._json = JsonRoom()

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Pass a request on, counting its body on the way."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        clock = asyncio.get_running_loop().time
        deadline = clock() + min(self._body_seconds, _JSON_SECONDS)
        is_upload = str(scope["path"]).rstrip("/").endswith(_UPLOAD)
        most = self._max_bytes if is_upload else self._max_json_bytes
        seen, complete = 0, False
        pace, text = Pace(), JsonBody(self._json)
        form: UploadForm | None = None

        async def limited() -> _Message:
            nonlocal seen, complete, form
            if complete:
                # The next message is the end of the connection, which may be a long time away.
                return await receive()
            if is_upload and not form:
                form = UploadForm(Headers(scope=scope).get("content-type"))
                await self._room.take(0)
            asked = clock()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(self._stall_seconds, deadline - asked)))
            except asyncio.TimeoutError as error:
                raise too_slow() from error
            body, waited = message.get("body", b""), clock() - asked
            seen += len(body)
            if seen > most:
                instead = "send fewer or smaller files at once" if is_upload else "upload the photos instead"
                raise HTTPException(413, f"The request is larger than {most // 1_000_000} MB; {instead}.")
            if form:
                pace.came(len(body), waited)
                await self._room.take(len(body) + FILE_BYTES * form.check(body))
            else:
                text.came(body, waited)
            complete = not message.get("more_body", False)
            return message

        if is_upload:
            try:
                await asyncio.wait_for(self._turns.acquire(), self._turn_seconds)
            except asyncio.TimeoutError:
                refusal = PlainTextResponse("Too many uploads are arriving; try again in a minute.", 503)
                await refusal(scope, receive, send)
                return
            deadline = clock() + self._body_seconds  # waiting for a turn does not count
            try:
                await self._pass_upload(scope, limited, send)
            finally:
                self._turns.release()
        else:
            try:
                await self._app(scope, limited, send)
            finally:
                text.release()

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
