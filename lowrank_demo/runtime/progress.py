"""How far a long piece of work is: amount, rate, time left."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` pieces; the rate counts this run only, not what a resumed one found done."""

    done: int
    total: int
    per_second: float

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None before there is one."""
        return (self.total - self.done) / self.per_second if self.per_second > 0 else None

    @property
    def text(self) -> str:
        """``120 of 400 images, 85 images/s, 3 s left``."""
        left = self.seconds_left
        ends = f", {duration(left)} left" if left is not None and self.done < self.total else ""
        return f"{self.done:,} of {self.total:,} images, {self.per_second:,.0f} images/s{ends}"


class Meter:
    """Measures the rate of work that started when the meter was made."""

    def __init__(self, total: int, done: int = 0) -> None:
        self._total = total
        self._first = done
        self._began = time.monotonic()

    def at(self, done: int) -> Progress:
        """Progress with ``done`` pieces finished."""
        elapsed = time.monotonic() - self._began
        return Progress(done, self._total, (done - self._first) / elapsed if elapsed > 0 else 0.0)


class ProgressLine:
    """Shows progress on one line of standard error: often on a terminal, rarely in a log."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._interval = 0.2 if self._terminal else 30.0
        self._shown = time.monotonic()

    def show(self, progress: Progress, extra: str = "") -> None:
        """Show it, unless the last one was shown just now and this is not the end."""
        self.show_text(progress.text + extra, last=progress.done >= progress.total)

    def show_text(self, text: str, *, last: bool = False) -> None:
        """Show a text of one's own, unless another was shown just now and this is not the last."""
        now = time.monotonic()
        if not last and now - self._shown < self._interval:
            return
        self._shown = now
        start, end = ("\r\033[K", "\n" if last else "") if self._terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
