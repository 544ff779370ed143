"""Places for requests: how many may do the same thing at a time, so that no kind of request keeps out the others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from ..errors import Busy, UsageError

FEW_PHOTOS, FEW_COST = 8, 100_000_000
"""Requests with more photos, or with JPEGs that cost more to decode, have places of their own, so that they never keep
the others waiting for one. A photo of 14 megapixels costs as much, or one of 6 in ten scans: 0.1 to 0.3 s."""
WORKERS, LONG_WORKERS = 4, 2
"""Short and long requests that hold decoded photos at a time."""
DOWNLOADERS = 6
"""Requests that may wait for a download at a time; more are refused, but requests that need none continue."""
ANSWERED = 32
"""Requests for answers that Gradio passes on at a time; most of them wait here, for a child process, a place or a
download."""
CUTTERS = 2
"""Requests that may truncate a model at a time, which takes seconds; more are refused."""
TIMERS = 2
"""Truncated models whose time is measured at a time; more are refused. Every visitor can make up others."""
BUILDERS = 3
"""Sets that are built at a time. Each takes one child process, first for the zip and then for its photos, and the disk
space of an unpacked zip."""
MAX_MODELS = 12
"""Models of one comparison or validation: all that the paper's authors published, and a few more."""


def check_models(count: int) -> None:
    """Refuse more models than one request may take.

    Raises:
        UsageError: There are more.
    """
    if count > MAX_MODELS:
        raise UsageError(f"{count:,} models were chosen; expected at most {MAX_MODELS} at once: choose fewer.")


class Places:
    """Lets a limited number of requests through at a time. Safe for use by several threads.

    Args:
        count: How many.
        full: Message for a request that finds no place.
    """

    def __init__(self, count: int, full: str) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._full = full

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place for the length of the block.

        Raises:
            Busy: None is free.
        """
        if not self._free.acquire(blocking=False):
            raise Busy(self._full)
        try:
            yield
        finally:
            self._free.release()
