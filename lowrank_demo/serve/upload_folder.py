"""The folder of what a run's visitors leave: its own, which nobody else can read, and which goes when the app ends."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "lowrank-uploads-"
_LOCK = ".in-use"
_BEING_MADE = 60.0
"""Seconds in which a new folder gets its lock."""


@contextlib.contextmanager
def upload_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for uploads and sets, and delete it in the end, as well as those of runs that were killed.

    Args:
        parent: Where to make it; other files there are left alone.

    Raises:
        OSError: It cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            _delete_unused(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    with FileLock(folder / _LOCK):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _delete_unused(folder: Path) -> None:
    lock = folder / _LOCK
    # A link may lead anywhere. Without a lock, this may be a folder of something else.
    if folder.is_symlink() or not lock.is_file() or folder.stat().st_ctime > time.time() - _BEING_MADE:
        return
    with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
