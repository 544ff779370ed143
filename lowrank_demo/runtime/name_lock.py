"""A lock on a file's name among processes, which leaves nothing behind.

filelock leaves its file. Deleting it could give the lock to two processes: one holds the deleted file, and the other
a new file of that name.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextlib.contextmanager
def name_lock(path: Path) -> Iterator[bool]:
    """Hold a lock while the block runs; the system releases it if the process is killed.

    Where the system or the file system has no locks, nothing is locked.

    Args:
        path: The lock's own file. It is deleted at the end.

    Yields:
        False if another process holds the lock.

    Raises:
        OSError: The file cannot be made.
    """
    if fcntl is None:
        yield True
        return
    descriptor = _acquire(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            try:
                # Deleted while it is held, so that nobody deletes the file of the next holder.
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _acquire(path: Path) -> int | None:
    """Return the locked file; None if another process has locked it."""
    while True:
        with contextlib.ExitStack() as closing:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            closing.callback(os.close, descriptor)
            if not _lock(descriptor):
                return None
            # Between opening and locking, a holder that ended may have deleted the file.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    closing.pop_all()
                    return descriptor


def _lock(descriptor: int) -> bool:
    assert fcntl
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
