"""A bound on the log: what a visitor can repeat is not written each time."""

from __future__ import annotations

import logging
import threading
import time

_MOST = 10
_SECONDS = 3600.0


class LogLimit(logging.Filter):
    """Lets each statement that logs a warning or an error do so a few times an hour, and counts the others.

    Each type of exception counts for itself, so that what a visitor repeats does not hide what another meets.

    Safe for use by several threads.

    Args:
        most: Records of one statement with one type of exception.
        seconds: The time in which it may log so many.
    """

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen: dict[object, tuple[float, int]] = {}
        """For each kind of record, when its present hour began, and its records since. There are only so many kinds."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record; one that follows others that were not written says how many."""
        if record.levelno < logging.WARNING:
            return True
        error = record.exc_info[0] if record.exc_info else None
        kind, now = (record.pathname, record.lineno, error), time.monotonic()
        with self._lock:
            began, count = self._seen.get(kind, (now, 0))
            over = max(0, count - self._most)
            if now - began > self._seconds:
                began, count = now, 0
            self._seen[kind] = began, count + 1
        if not count and over:
            record.msg, record.args = f"{record.getMessage()} ({over:,} more like it were left out before)", ()
        return count < self._most


def limit_log() -> None:
    """Limit what this process logs, through handlers of the root logger, Python's own last one, and uvicorn's."""
    limit = LogLimit()
    # A logger's filter sees only what is logged with it, a handler's what comes from all loggers below.
    for place in (logging.lastResort, *logging.getLogger().handlers, logging.getLogger("uvicorn.error")):
        if place:
            place.addFilter(limit)
