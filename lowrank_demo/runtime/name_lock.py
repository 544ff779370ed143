"""A lock on a file's name among processes, which leaves nothing behind.

filelock leaves its file. Deleting it could give the lock to two processes: one holds the deleted file, and the other
a new file of that name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None


@contextlib.contextmanager
def name_lock(path: Path) -> Iterator[bool]:
    """Hold a lock while the block runs; the system releases it if the process is killed.

    Args:
        path: The lock's own file. It is deleted at the end.

    Yields:
        Whether the lock is held: False if another process has it.

    Raises:
        OSError: The file cannot be made.
    """
    descriptor = _acquire(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            # Deleted while it is held, so that nobody deletes the file of the next holder.
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _acquire(path: Path) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking, a holder that ended may have deleted the file.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
