"""Limits on one request: its size, the time it takes to arrive, and the disk space of all uploads. Plain ASGI.

Only uploads may be large. Any other body is JSON, which takes many times its size once it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

_MAX_MARKS = 50_000
"""Commas, colons and opening brackets of a body that is no upload: more are more values than any request has."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]


class RequestLimits:
    """Refuses a body that is too large or too slow, and uploads for which there is no disk space.

    Args:
        app: The application behind the limits.
        max_bytes: Largest body of an upload.
        max_json_bytes: Largest body of any other request.
        stall_seconds: Longest wait for the next chunk of a body.
        body_seconds: Longest time that a whole body may take.
        uploads: The folder of uploaded files.
        max_upload_bytes: Largest size of that folder; more is refused until old files have been deleted.
    """

    def __init__(
        self,
        app: _App,
        max_bytes: int,
        max_json_bytes: int,
        uploads: Path,
        max_upload_bytes: int,
        stall_seconds: float = 20.0,
        body_seconds: float = 900.0,
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_json_bytes = max_json_bytes
        self._uploads = uploads
        self._max_upload_bytes = max_upload_bytes
        self._stall_seconds = stall_seconds
        self._body_seconds = body_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Pass a request on, counting its body on the way."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._body_seconds
        is_upload = str(scope["path"]).rstrip("/").endswith("/upload")
        most = self._max_bytes if is_upload else self._max_json_bytes
        seen, marks, complete, checked = 0, 0, False, False

        async def limited() -> _Message:
            nonlocal seen, marks, complete, checked
            if complete:
                # The next message is the end of the connection, which may be a long time away.
                return await receive()
            if is_upload and not checked:
                checked = True
                # In a thread: the folder may hold thousands of files, and the server has one event loop.
                await asyncio.to_thread(self._refuse_without_room)
            left = deadline - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(self._stall_seconds, left)))
            except asyncio.TimeoutError as error:
                raise HTTPException(408, "The request came too slowly; send it again on a faster line.") from error
            body = message.get("body", b"")
            seen += len(body)
            if seen > most:
                instead = "send fewer or smaller files at once" if is_upload else "upload the photos instead"
                raise HTTPException(413, f"The request has more than {most // 1_000_000} MB; {instead}.")
            if not is_upload:
                marks += sum(map(body.count, (b",", b":", b"[", b"{")))
                if marks > _MAX_MARKS:
                    raise HTTPException(413, "The request has too many values; send fewer at once.")
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, limited, send)

    def _refuse_without_room(self) -> None:
        if _size(self._uploads) > self._max_upload_bytes:
            raise HTTPException(503, "The server has no room for more uploads now; try again in half an hour.")


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # deleted meanwhile
            total += path.stat().st_size
    return total
