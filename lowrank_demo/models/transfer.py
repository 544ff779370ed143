"""What all downloads share: progress, the longest time, and that each file is downloaded once at a time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import WeightsUnavailable

DOWNLOAD_SECONDS = 900.0
"""Longest time of a whole download: 46 to 172 MB at 0.2 MB/s. The next attempt continues where it stopped."""
_REPORT_SECONDS = 0.2
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is. ``bytes_total`` is None if the server did not state the size."""

    bytes_done: int
    bytes_total: int | None
    bytes_per_second: float

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the current rate; None if the size or the rate is unknown."""
        if self.bytes_total is None or self.bytes_per_second <= 0:
            return None
        return (self.bytes_total - self.bytes_done) / self.bytes_per_second

    @property
    def text(self) -> str:
        """The progress in words: ``downloading weights: 12.0 of 45.9 MB, 3.2 MB/s, 11 s left``."""
        total = f" of {self.bytes_total / 1e6:.1f}" if self.bytes_total else ""
        left = self.seconds_left
        remaining = f", {left:.0f} s left" if left is not None else ""
        rate = f"{self.bytes_per_second / 1e6:.1f} MB/s"
        return f"downloading weights: {self.bytes_done / 1e6:.1f}{total} MB, {rate}{remaining}"


OnProgress = Callable[[DownloadProgress], None]


class Transfer:
    """Follows a download: reports it a few times a second and when it is complete, and ends one that takes too long.

    Args:
        on_progress: Called with the progress; None for nobody.
        first: Bytes that an earlier attempt left.
        total: Bytes of the whole file; None if the server did not state them.
    """

    def __init__(self, on_progress: OnProgress | None, first: int, total: int | None) -> None:
        self._on_progress = on_progress
        self._first, self._total = first, total
        self._began = self._reported = time.monotonic()

    def at(self, done: int) -> None:
        """Note that this many bytes have arrived.

        Raises:
            WeightsUnavailable: The download has taken :data:`DOWNLOAD_SECONDS`.
        """
        now = time.monotonic()
        if now - self._began > DOWNLOAD_SECONDS and done != self._total:
            raise WeightsUnavailable(
                f"The download took more than {DOWNLOAD_SECONDS / 60:.0f} minutes; try again: it continues where it "
                "stopped."
            )
        if self._on_progress and (now - self._reported > _REPORT_SECONDS or done == self._total):
            self._reported = now
            rate = (done - self._first) / max(now - self._began, 1e-6)
            self._on_progress(DownloadProgress(done, self._total, rate))


def print_download(progress: DownloadProgress) -> None:
    """Show the progress of a download on one line of standard error."""
    end = "\n" if progress.bytes_done == progress.bytes_total else ""
    print(f"\r{progress.text} ", end=end, file=sys.stderr, flush=True)


@contextlib.contextmanager
def one_at_a_time(target: Path, on_progress: OnProgress | None) -> Iterator[None]:
    """Hold the lock of a file's download, in whichever process it runs.

    Args:
        target: The file.
        on_progress: Called twice a second while another download runs. If it raises, the wait ends.

    Raises:
        WeightsUnavailable: The other download has taken :data:`DOWNLOAD_SECONDS` of waiting.
    """
    lock = FileLock(target.with_name(target.name + ".lock"))
    ends = time.monotonic() + DOWNLOAD_SECONDS
    while True:
        try:
            lock.acquire(timeout=_LOOK_SECONDS)
            break
        except Timeout as error:
            if time.monotonic() > ends:
                raise WeightsUnavailable(
                    f"{target.name} is being downloaded by others, too slowly to wait for; try again later."
                ) from error
            if on_progress:
                on_progress(DownloadProgress(0, None, 0.0))
    try:
        yield
    finally:
        lock.release()
