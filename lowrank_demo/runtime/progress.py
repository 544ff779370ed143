"""Progress of long work: amount done, rate, time left."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from .words import counted


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` images. The rate covers this run only, not what a resumed run found done already.

    It is 0 while it is unknown.
    """

    done: int
    total: int
    per_second: float

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the current rate; None while the rate is unknown."""
        return (self.total - self.done) / self.per_second if self.per_second > 0 else None

    @property
    def text(self) -> str:
        """The progress in words: ``120 of 400 images, 85 images/s, 3 s left``."""
        left = self.seconds_left
        rate = f", {counted(round(self.per_second), 'image')}/s" if self.per_second > 0 else ""
        remaining = f", {duration(left)} left" if left is not None and self.done < self.total else ""
        return f"{self.done:,} of {counted(self.total, 'image')}{rate}{remaining}"


class Meter:
    """Measures the rate of work. Its clock starts when it is created.

    Args:
        total: Images in all.
        done: Images that an earlier run finished; the rate leaves them out.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total = total
        self._first = done
        self._began = time.monotonic()

    def at(self, done: int) -> Progress:
        """Return the progress once ``done`` images are finished."""
        elapsed = time.monotonic() - self._began
        return Progress(done, self._total, (done - self._first) / elapsed if elapsed > 0 else 0.0)


class ProgressLine:
    """Progress on standard error: one line rewritten five times a second on a terminal, a line every 30 s in a log."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._interval = 0.2 if self._terminal else 30.0
        self._shown = time.monotonic()

    def show(self, progress: Progress, extra: str = "") -> None:
        """Show the progress followed by ``extra``, if an update is due or the work is complete."""
        self.show_text(progress.text + extra, last=progress.done >= progress.total)

    def show_text(self, text: str, *, last: bool = False) -> None:
        """Show any text, if an update is due or this is the ``last`` one."""
        now = time.monotonic()
        if not last and now - self._shown < self._interval:
            return
        self._shown = now
        start, end = ("\r\033[K", "\n" if last else "") if self._terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return a duration in words: ``45 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
