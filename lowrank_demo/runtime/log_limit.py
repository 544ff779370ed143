"""Limit the log: what a visitor can repeat is not written each time."""

from __future__ import annotations

import logging
import threading
import time

_MOST = 10
_SECONDS = 3600.0


class LogLimit(logging.Filter):
    """Lets each statement that logs a warning or an error do so a few times an hour, and counts the rest.

    Each type of exception, and each line that raises one, counts separately, so that what one visitor repeats does not
    hide what another one meets.

    Safe for use by several threads.

    Args:
        most: Records of one kind.
        seconds: The time in which that many may be written.
    """

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen: dict[object, tuple[float, int]] = {}
        """For each kind of record, when its present hour began, and its records since. The kinds are few."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write a record. The last one before a gap and the first one after it mention the gap."""
        if record.levelno < logging.WARNING:
            return True
        kind, now = _kind(record), time.monotonic()
        with self._lock:
            began, count = self._seen.get(kind, (now, 0))
            over = max(0, count - self._most)
            if now - began > self._seconds:
                began, count = now, 0
            self._seen[kind] = began, count + 1
        # Without a look at the arguments: a record whose arguments do not fit is for the handler to report.
        if not count and over:
            record.msg = f"{record.msg} ({over:,} more like it were left out before)"
        if count == self._most - 1:
            record.msg = f"{record.msg} (further ones like it are left out for {self._seconds / 60:.0f} minutes)"
        return count < self._most


def _kind(record: logging.LogRecord) -> object:
    """Return what records of the same kind have in common: the statement, the exception's type and who raised it."""
    error, _, at = record.exc_info or (None, None, None)
    while at and at.tb_next:
        at = at.tb_next
    return record.pathname, record.lineno, error, at and (at.tb_frame.f_code.co_filename, at.tb_lineno)


def limit_log() -> None:
    """Limit what this process logs, through the root logger's handlers, Python's last-resort handler, and uvicorn's.

    If the root logger has no handler, it gets the last-resort one, so that a library that calls ``basicConfig`` later
    adds none. A handler that is added in another way is not limited.
    """
    root, limit = logging.getLogger(), LogLimit()
    if logging.lastResort and not root.handlers:
        root.addHandler(logging.lastResort)
    # A logger's filter sees only what that logger logs; a handler's filter sees what all loggers below send.
    for place in (logging.lastResort, *root.handlers, logging.getLogger("uvicorn.error")):
        if place:
            place.addFilter(limit)
