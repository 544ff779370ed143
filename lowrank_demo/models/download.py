"""Download a file under a temporary name, check its SHA-256, then move it into place.

A partial file is kept, and the next attempt resumes it. Without a network the error comes within
``CONNECT_SECONDS``. That includes looking up the host's name, which the timeouts of HTTP clients do not cover.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from ..errors import WeightsRefused, WeightsUnavailable
from .transfer import OnProgress, Transfer, one_at_a_time

CONNECT_SECONDS = 2.5
"""Longest wait for a connection."""
STALL_SECONDS = 30.0
"""Longest wait for an answer, or for the next bytes."""
_CHUNK = 1 << 20


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    max_bytes: int,
    on_progress: OnProgress | None = None,
) -> str:
    """Download a file, resuming an earlier attempt if there was one.

    Args:
        url: http(s) address; redirects are followed.
        target: Where the file goes, once it is complete and verified. Its folder is created.
        sha256: Expected SHA-256 in hex, or its first digits.
        max_bytes: A larger file is refused.
        on_progress: Called a few times a second. If it raises, the download stops and can be resumed.

    Returns:
        The file's full SHA-256 in hex.

    Raises:
        WeightsUnavailable: The server cannot be reached, stalls, or does not have the file; or the disk is full.
        WeightsRefused: The server sent a different file from the one expected.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with one_at_a_time(target, on_progress):
        attempt = _Attempt(url, target, part, sha256, max_bytes, on_progress)
        resumed = part.exists() and part.stat().st_size > 0
        try:
            try:
                return attempt.run()
            except WeightsRefused:
                if not resumed:
                    raise
            # What the earlier attempt left may have been part of another file. It is removed now: start again.
            return attempt.run()
        except OSError as error:
            raise WeightsUnavailable(
                f"{target.name} could not be saved ({error.strerror}); free space there or set LOWRANK_CACHE_DIR."
            ) from error


@dataclass(frozen=True)
class _Attempt:
    """One attempt at a download; the fields are the arguments of :func:`download`, and the partial file."""

    url: str
    target: Path
    part: Path
    sha256: str
    max_bytes: int
    on_progress: OnProgress | None

    def run(self) -> str:
        """Download and verify the file; remove the partial file if it is refused."""
        try:
            with self.part.open("ab+") as file:
                digest = self._complete(file)
                file.flush()
                os.fsync(file.fileno())
        except WeightsRefused:
            self.part.unlink(missing_ok=True)
            raise
        os.replace(self.part, self.target)
        return digest

    def _complete(self, file: BinaryIO) -> str:
        """Fetch what ``file`` lacks; return its SHA-256 if that is the expected one."""
        name = self.target.name
        try:
            with self._open(file) as response:
                if response.status_code != 416:
                    self._receive(response, file)
        except httpx.HTTPError as error:
            raise WeightsUnavailable(
                f"The download of {name} stopped ({_reason(error)}); try again: it continues where it stopped."
            ) from error
        digest, start = _digest(file)
        if not digest.startswith(self.sha256):
            page = " The server sent a web page." if start.lstrip()[:1] == b"<" else ""
            raise WeightsRefused(
                f"{name} arrived with SHA-256 {digest[:16]}…; expected {self.sha256[:16]}…, so it was not kept.{page} "
                "Try again later."
            )
        return digest

    @contextlib.contextmanager
    def _open(self, file: BinaryIO) -> Iterator[httpx.Response]:
        """Request what ``file`` lacks and check the status; empty ``file`` if the server sends all of it again."""
        have = file.seek(0, os.SEEK_END)
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        timeout = httpx.Timeout(STALL_SECONDS, connect=CONNECT_SECONDS)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            request = client.build_request("GET", self.url, headers=headers)
            with contextlib.closing(_send(client, request)) as response:
                # 416: nothing is missing, or the partial file is too long. The digest decides.
                if response.status_code not in (200, 206, 416):
                    raise WeightsUnavailable(
                        f"{request.url.host} answered {response.status_code} for {self.target.name}; expected the file."
                    )
                if response.status_code == 200 or (response.status_code == 206 and _range_start(response) != have):
                    file.truncate(0)
                yield response

    def _receive(self, response: httpx.Response, file: BinaryIO) -> None:
        name = self.target.name
        done = first = file.seek(0, os.SEEK_END)
        length = response.headers.get("content-length", "")
        total = done + int(length) if length.isdecimal() else None
        transfer = Transfer(self.on_progress, first, total)
        for chunk in response.iter_raw():
            done += len(chunk)
            if max(done, total or 0) > self.max_bytes:
                raise WeightsRefused(
                    f"{name} is larger than the {self.max_bytes / 1e6:.0f} MB that its model needs, so it was not kept."
                )
            file.write(chunk)
            transfer.at(done)
        if total is not None and done < total:
            raise WeightsUnavailable(
                f"The download of {name} stopped at {done / 1e6:.1f} of {total / 1e6:.1f} MB; try again: it "
                "continues there."
            )


def _send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send a request and return the response, or raise if there is no connection after ``CONNECT_SECONDS``.

    A thread does the work, because the look-up of the host's name cannot be interrupted.
    """
    connected, finished, abandoned = threading.Event(), threading.Event(), threading.Event()
    outcome: list[httpx.Response | Exception] = []

    def trace(name: str, _info: object) -> None:
        if name == "connection.connect_tcp.complete":
            connected.set()

    def work() -> None:
        try:
            response = client.send(request, stream=True)
            if abandoned.is_set():
                response.close()
            outcome.append(response)
        except Exception as error:
            outcome.append(error)
        connected.set()
        finished.set()

    request.extensions["trace"] = trace
    threading.Thread(target=work, daemon=True).start()
    host = request.url.host
    if not connected.wait(CONNECT_SECONDS) or not finished.wait(STALL_SECONDS):
        abandoned.set()
        raise WeightsUnavailable(f"{host} does not answer.")
    result = outcome[0]
    if isinstance(result, httpx.HTTPError):
        raise WeightsUnavailable(f"{host} cannot be reached ({_reason(result)}).") from result
    if isinstance(result, Exception):
        raise result
    return result


def _range_start(response: httpx.Response) -> int | None:
    """Return the position in the file at which a partial response starts."""
    content_range = response.headers.get("content-range", "")
    start = content_range.removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else None


def _digest(file: BinaryIO) -> tuple[str, bytes]:
    """Return the SHA-256 of the whole file, and its first bytes."""
    file.seek(0)
    start = file.read(64)
    digest = hashlib.sha256(start)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest(), start


def _reason(error: Exception) -> str:
    """Return the cause of a network error in a few words, without the system's number for it."""
    words = re.sub(r"^\[Errno -?\d+\] ", "", str(error)).rstrip(".")
    return words or type(error).__name__
