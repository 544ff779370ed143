"""Limits on one request: its size, the time it takes to arrive, and the disk space of all uploads. Plain ASGI.

Only uploads may be large. Any other body is JSON, which takes many times its size once it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

_MAX_MARKS = 50_000
"""Commas, colons and opening brackets of a body that is no upload: more are more values than any request has."""

_UPLOAD = "/gradio_api/upload"
_MAX_UPLOADS = 16
"""Uploads that arrive at the same time; the next ones wait for their turn."""
_MAX_FILES = 500
"""Files of one upload: while it arrives, each is open."""
_FILE_BYTES = 16_000
"""What a file counts at least: one byte takes 8 kB of the disk with its folder, and time whenever all are measured or
swept, 0.07 ms in all."""
_MEASURING = 0.1
"""Largest share of the time in which a full folder is measured."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]


class RequestLimits:
    """Refuses a body that is too large or too slow, and uploads for which there is no disk space.

    Of an upload that fails, nothing stays on the disk.

    Args:
        app: The application behind the limits.
        max_bytes: Largest body of an upload.
        max_json_bytes: Largest body of any other request.
        turn_seconds: Longest wait of an upload until one of those that arrive is over.
        stall_seconds: Longest wait for the next chunk of a body.
        body_seconds: Longest time that a whole body may take.
        uploads: The folder of uploaded files. While a file arrives it lies in the folder itself, then in one below it.
        max_upload_bytes: Largest size of that folder; more is refused until old files have been deleted.
        also_kept: Returns the bytes of what counts as uploaded but lies elsewhere.
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
        self._room = _Room(uploads, max_upload_bytes, also_kept)
        self._turns = asyncio.Semaphore(_MAX_UPLOADS)

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """Pass a request on, counting its body on the way."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._body_seconds
        if any(name.lower() == b"transfer-encoding" for name, _ in scope.get("headers", ())):
            # A body in a million pieces takes long to read.
            refusal = PlainTextResponse("The request does not state its length; expected a Content-Length.", 411)
            await refusal(scope, receive, send)
            return
        is_upload = str(scope["path"]).rstrip("/").endswith(_UPLOAD)
        most = self._max_bytes if is_upload else self._max_json_bytes
        seen, marks, complete = 0, 0, False
        form: _Form | None = None

        async def limited() -> _Message:
            nonlocal seen, marks, complete, form
            if complete:
                # The next message is the end of the connection, which may be a long time away.
                return await receive()
            if is_upload and not form:
                form = _Form(Headers(scope=scope).get("content-type"))
                await self._room.take(0)
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
            if form:
                await self._room.take(len(body) + _FILE_BYTES * form.check(body))
            else:
                marks += sum(map(body.count, (b",", b":", b"[", b"{")))
                if marks > _MAX_MARKS:
                    raise HTTPException(413, "The request has too many values; send fewer at once.")
            complete = not message.get("more_body", False)
            return message

        if is_upload:
            try:
                await asyncio.wait_for(self._turns.acquire(), self._turn_seconds)
            except asyncio.TimeoutError:
                refusal = PlainTextResponse("Too many uploads arrive now; try again in a minute.", 503)
                await refusal(scope, receive, send)
                return
            deadline = asyncio.get_running_loop().time() + self._body_seconds  # not less for having waited
            try:
                await self._pass_upload(scope, limited, send)
            finally:
                self._turns.release()
        else:
            await self._app(scope, limited, send)

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
            # Gradio raises anything where a form is not what it expects, and where the line breaks.
            refusal = PlainTextResponse("The upload cannot be read; expected a form of whole files alone.", 400)
            await refusal(scope, receive, noting)
        # Once the exception is gone, and with it the last that holds the files open.
        await self._room.delete_left()


class _Form:
    """The form of one upload, as far as it has come, read by the parser that Gradio uses.

    Args:
        content_type: The request's header of that name, which states what divides the form's parts.

    Raises:
        HTTPException: It states no form.
    """

    def __init__(self, content_type: str | None) -> None:
        self._files = 0
        self._name = self._value = self._disposition = b""
        kind, options = parse_options_header(content_type)
        try:
            if kind != b"multipart/form-data":
                raise KeyError
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_to_name,
                    "on_header_value": self._add_to_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._count,
                },
            )
        except (KeyError, FormParserError) as error:
            raise _no_form() from error

    def check(self, body: bytes) -> int:
        """Take the next piece of the form; return how many files begin in it.

        Raises:
            HTTPException: A part is no file, which Gradio would keep in memory, or there are too many files, or this
                is no form.
        """
        before = self._files
        try:
            self._parser.write(body)
        except FormParserError as error:
            raise _no_form() from error
        return self._files - before

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _count(self) -> None:
        if b"filename" not in parse_options_header(self._disposition)[1]:
            raise HTTPException(400, "The upload has a field that is no file; expected a form of files alone.")
        self._files += 1
        if self._files > _MAX_FILES:
            raise HTTPException(413, f"The upload has more than {_MAX_FILES} files; send fewer at once.")


def _no_form() -> HTTPException:
    return HTTPException(400, "The upload cannot be read; expected a form of whole files alone.")


class _Room:
    """The disk space of uploads. Used by one event loop."""

    def __init__(self, folder: Path, max_bytes: int, also_kept: Callable[[], int]) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._also_kept = also_kept
        self._measured: int | None = None
        self._since = 0
        """Bytes of all uploads that arrived since the folder was measured."""
        self._measuring = asyncio.Lock()
        self._measured_again = 0.0
        """When the folder, which was full, is measured again at the earliest, by ``time.monotonic``."""

    async def take(self, size: int) -> None:
        """Count bytes that arrive.

        Raises:
            HTTPException: There is no room for them.
        """
        self._since += size
        if self._fits():
            return
        async with self._measuring:
            if self._fits():  # another upload measured meanwhile
                return
            began = time.monotonic()
            if began < self._measured_again:
                raise _no_room()
            await self.delete_left()
            since = self._since
            # In a thread: the folder may hold thousands of files, and the server has one event loop.
            self._measured = size + await asyncio.to_thread(lambda: _size(self._folder) + self._also_kept())
            self._since -= since
            if not self._fits():
                now = time.monotonic()
                self._measured_again = now + (now - began) / _MEASURING
                raise _no_room()

    def _fits(self) -> bool:
        return self._measured is not None and self._measured + self._since <= self._max_bytes

    async def delete_left(self) -> None:
        """Delete the files of uploads that failed: those in the folder itself that are no longer open."""
        files = await asyncio.to_thread(_files_in, self._folder)
        # Without a pause from here on: Gradio closes a file and moves it away without one.
        arriving = _open_files() if files else set()
        for path in files:
            if arriving is not None and str(path) not in arriving:
                path.unlink(missing_ok=True)


def _no_room() -> HTTPException:
    return HTTPException(503, "The server has no room for more uploads now; try again in half an hour.")


def _files_in(folder: Path) -> list[Path]:
    """Return the files in a folder itself; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return [folder.resolve() / entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _open_files() -> set[str] | None:
    """Return the paths of what this process has open; None where the system does not say."""
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return None
    found: set[str] = set()
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return found


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder, each of at least ``_FILE_BYTES``."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # deleted meanwhile
                # Not by Path, which takes twice the time.
                total += max(_FILE_BYTES, os.lstat(os.path.join(place, name)).st_size)
    return total
