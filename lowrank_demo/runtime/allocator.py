"""How the C library hands memory out: its defaults suit neither networks nor servers that run for long. glibc only."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Use freed memory again in place of giving it back to the system.

    A step of training frees and asks for the same hundreds of megabytes; fetched anew page by page, they take a quarter
    of its time.
    """
    _set((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))


def share_arenas() -> None:
    """Let threads share two arenas: of one for each thread little is handed back, and memory grows."""
    _set((_M_ARENA_MAX, 2))


def _set(*options: tuple[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library than glibc
        return
    for option, value in options:
        mallopt(option, value)
