"""Download a file to a temporary name, check its SHA-256, then move it into place.

A partial file stays for the next try to resume. With no network the answer comes within ``CONNECT_SECONDS``, name
look-up included, which ordinary socket timeouts do not cover.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
from filelock import FileLock

from ..errors import WeightsRefused, WeightsUnavailable

CONNECT_SECONDS = 2.5
"""For the whole search, however many places are asked."""
STALL_SECONDS = 30.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is; ``bytes_total`` is None where the server did not say."""

    bytes_done: int
    bytes_total: int | None
    bytes_per_second: float

    @property
    def seconds_left(self) -> float | None:
        """At the present rate, where the size is known."""
        if self.bytes_total is None or self.bytes_per_second <= 0:
            return None
        return (self.bytes_total - self.bytes_done) / self.bytes_per_second

    @property
    def text(self) -> str:
        """``downloading weights: 12.0 of 45.9 MB, 3.2 MB/s, 11 s left``."""
        total = f" of {self.bytes_total / 1e6:.1f}" if self.bytes_total else ""
        left = self.seconds_left
        ends = f", {left:.0f} s left" if left is not None else ""
        return (
            f"downloading weights: {self.bytes_done / 1e6:.1f}{total} MB, {self.bytes_per_second / 1e6:.1f} MB/s{ends}"
        )


OnProgress = Callable[[DownloadProgress], None]


def print_download(progress: DownloadProgress) -> None:
    """Show a download on one line of standard error."""
    ends = "\n" if progress.bytes_done == progress.bytes_total else ""
    print(f"\r{progress.text} {ends}", end="", file=sys.stderr, flush=True)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    max_bytes: int,
    on_progress: OnProgress | None = None,
    headers: Mapping[str, str] | None = None,
    connect_seconds: float = CONNECT_SECONDS,
) -> str:
    """Bring ``url`` to ``target``, resuming what an earlier try left.

    Args:
        url: http(s) address; redirects are followed.
        target: Final path; its folder is made. It appears only once the whole file is there and verified.
        sha256: Expected digest in hex, or its first digits. None takes the digest that the server states in
            ``X-Linked-ETag``, as the Hub does for large files.
        max_bytes: A longer file is refused.
        on_progress: Called a few times a second. An error raised in it stops the download, which can be resumed.
        headers: Sent with the request.
        connect_seconds: No connection within this time, name look-up included, means that there is no network.

    Returns:
        The file's full SHA-256 in hex.

    Raises:
        WeightsUnavailable: The server cannot be reached, stalls, or does not have the file.
        WeightsRefused: What came is not the file expected.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with FileLock(target.with_name(target.name + ".lock")):
        job = _Job(url, target, part, sha256, max_bytes, on_progress, headers or {}, connect_seconds)
        resumed = part.exists() and part.stat().st_size > 0
        try:
            try:
                return job.run()
            except WeightsRefused:
                if not resumed:
                    raise
            # The start that an earlier try left may be of another file: once more from nothing.
            return job.run()
        except OSError as error:
            raise WeightsUnavailable(
                f"{target.name} could not be saved ({error.strerror}); free space there or set LOWRANK_CACHE_DIR."
            ) from error


@dataclass(frozen=True)
class _Job:
    url: str
    target: Path
    part: Path
    sha256: str | None
    max_bytes: int
    on_progress: OnProgress | None
    headers: Mapping[str, str]
    connect_seconds: float

    def run(self) -> str:
        """One try; a part that proves wrong is removed."""
        try:
            with self.part.open("ab+") as file:
                digest = self._fill(file)
                file.flush()
                os.fsync(file.fileno())
        except WeightsRefused:
            self.part.unlink(missing_ok=True)
            raise
        os.replace(self.part, self.target)
        return digest

    def _fill(self, file: BinaryIO) -> str:
        name = self.target.name
        try:
            with self._open(file) as response:
                expected = self.sha256 or response.headers.get("x-linked-etag", "").strip('"')
                if response.status_code != 416:
                    self._receive(response, file)
        except httpx.HTTPError as error:
            raise WeightsUnavailable(
                f"The download of {name} stopped ({_reason(error)}); try again, it goes on from where it was."
            ) from error
        digest, start = _digest(file)
        if not expected or not digest.startswith(expected):
            page = " The server sent a web page." if start.lstrip()[:1] == b"<" else ""
            raise WeightsRefused(
                f"{name} came with SHA-256 {digest[:16]}…; expected {expected[:16] or 'a stated one'}…, so "
                f"it was not kept.{page} Try again later."
            )
        return digest

    @contextlib.contextmanager
    def _open(self, file: BinaryIO) -> Iterator[httpx.Response]:
        """The response to the request for what ``file`` still lacks, its status checked and ``file`` positioned."""
        have = file.seek(0, os.SEEK_END)
        headers = {**self.headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        timeout = httpx.Timeout(STALL_SECONDS, connect=self.connect_seconds)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            request = client.build_request("GET", self.url, headers=headers)
            with contextlib.closing(_send(client, request, self.connect_seconds)) as response:
                # 416: nothing is missing, or the part is longer than the file; the digest tells which.
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
        began = reported = time.monotonic()
        for chunk in response.iter_raw():
            done += len(chunk)
            if max(done, total or 0) > self.max_bytes:
                raise WeightsRefused(
                    f"{name} is larger than the {self.max_bytes / 1e6:.0f} MB its model needs, so it was not kept."
                )
            file.write(chunk)
            now = time.monotonic()
            if self.on_progress and (now - reported > 0.2 or done == total):
                reported = now
                self.on_progress(DownloadProgress(done, total, (done - first) / max(now - began, 1e-6)))
        if total is not None and done < total:
            raise WeightsUnavailable(
                f"The download of {name} stopped at {done / 1e6:.1f} of {total / 1e6:.1f} MB; try again, it goes on."
            )


def _send(client: httpx.Client, request: httpx.Request, connect_seconds: float) -> httpx.Response:
    """Send in a thread of its own, so that no connection within ``connect_seconds`` is an answer too."""
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
    if not connected.wait(connect_seconds) or not finished.wait(STALL_SECONDS):
        abandoned.set()
        raise WeightsUnavailable(f"{host} does not answer.")
    result = outcome[0]
    if isinstance(result, httpx.HTTPError):
        raise WeightsUnavailable(f"{host} cannot be reached ({_reason(result)}).") from result
    if isinstance(result, Exception):
        raise result
    return result


def _range_start(response: httpx.Response) -> int | None:
    content_range = response.headers.get("content-range", "")
    start = content_range.removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else None


def _digest(file: BinaryIO) -> tuple[str, bytes]:
    """SHA-256 of the whole file, and its first bytes."""
    file.seek(0)
    start = file.read(64)
    digest = hashlib.sha256(start)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest(), start


def _reason(error: Exception) -> str:
    """The cause of a network error in a few words."""
    return str(error).rstrip(".") or type(error).__name__
