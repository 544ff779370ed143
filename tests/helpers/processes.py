"""Processes from outside: who started them, what they have open, and their end. Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def children(parent: int) -> list[int]:
    """Return the ids of the processes that this one started and that have not ended."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if f"\nPPid:\t{parent}\n".encode() in status.read_bytes():
                found.append(int(status.parent.name))
    return found


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started, also what runs in a session of its own, as torchrun's workers do."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # it starts no more while its children are looked for
        for child in children(pid):
            kill_tree(child)
        os.kill(pid, signal.SIGKILL)


def opened(pid: int, file: Path) -> bool:
    """Return whether the process has mapped the file."""
    with contextlib.suppress(OSError):
        return str(file) in Path(f"/proc/{pid}/maps").read_text()
    return False
