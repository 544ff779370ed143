"""Deleting what visitors left: one thread for all of it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

UPLOADS_KEPT_SECONDS = 5400.0
_JUST_MADE = 60.0
"""Seconds within which a new folder gets its file."""


def delete_older(folder: Path, seconds: float, since: float = 0.0) -> None:
    """Delete the files below a folder that are older than ``seconds``, and the empty folders.

    It does not matter who made them: a request that broke off leaves files that nothing refers to.

    Args:
        folder: The folder, which stays.
        seconds: The age, since the last change.
        since: Files last changed before this moment, by ``time.time``, stay: they are the page's own.
    """
    until = time.time() - seconds
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = os.path.join(place, name)  # not a Path, which takes twice the time
            with contextlib.suppress(OSError):  # deleted meanwhile
                if since <= os.lstat(path).st_ctime < until:
                    Path(path).unlink()
        for name in folders:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):  # not empty, mostly
                if os.lstat(path).st_mtime < time.time() - _JUST_MADE:
                    Path(path).rmdir()


def sweep_regularly(every: float, *sweeps: Callable[[], None]) -> threading.Event:
    """Call the functions at a regular interval in seconds, ``every``, in one thread.

    Returns:
        An event; set it to stop the thread.
    """
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(every):
            for one in sweeps:
                try:
                    one()
                except Exception:
                    logging.getLogger(__name__).exception("sweeping failed")

    threading.Thread(target=sweep, daemon=True, name="sweeper").start()
    return ended
