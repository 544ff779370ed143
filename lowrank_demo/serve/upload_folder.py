"""A run's own folder for what its visitors leave: nobody else can read it, and it is deleted when the app ends."""

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
"""Seconds within which a new folder gets its lock."""
_TRIES, _PAUSE = 50, 0.1
"""Tries to empty a folder, and seconds between them: an upload may still be arriving."""


@contextlib.contextmanager
def upload_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for uploads and sets, and delete it at the end. First delete those of runs that were killed.

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
    try:
        with FileLock(folder / _LOCK):
            try:
                yield folder
            finally:
                _empty(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _delete_unused(folder: Path) -> None:
    lock = folder / _LOCK
    # A link may lead anywhere. Without a lock, this may be a folder of something else.
    if folder.is_symlink() or not lock.is_file() or folder.stat().st_ctime > time.time() - _BEING_MADE:
        return
    with contextlib.suppress(Timeout):
        with FileLock(lock, timeout=0):
            _empty(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Delete everything but the lock, without which the next run would not know what a killed one left."""
    for _ in range(_TRIES):
        left = [path for path in folder.glob("*") if path.name != _LOCK]
        if not left:
            return
        for path in left:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
        if any(path.exists() for path in left):
            time.sleep(_PAUSE)
