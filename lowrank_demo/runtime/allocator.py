"""Settings of glibc's memory allocator, whose defaults suit neither long computations nor long-running servers.

With any other C library these functions do nothing.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
_LARGE = 4_000_000


def keep_freed_memory() -> None:
    """Reuse freed memory instead of returning it to the system.

    Every batch frees and requests the same hundreds of megabytes. Getting them from the system again, page by page,
    takes a quarter of a training step's time, and makes threads wait for one another: a process gets its pages under
    one lock. All threads share one arena, because the others return part of what is freed in any case.
    """
    _mallopt((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))


def share_arenas() -> None:
    """Make all threads share two arenas, and return large blocks to the system as soon as they are freed.

    By default each thread has an arena of its own, which returns little of its memory, so a server's memory grows. By
    default, too, blocks of up to 32 MB come from an arena once one has been freed, so request bodies stayed in memory.
    """
    _mallopt((_M_ARENA_MAX, 2), (_M_MMAP_THRESHOLD, _LARGE))


def _mallopt(*options: tuple[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return
    for option, value in options:
        mallopt(option, value)
