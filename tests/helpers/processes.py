"""Processes from outside: who started them, what they have open."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path


def children(parent: int) -> list[int]:
    """Return the ids of the processes that this one started and that have not ended."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def opened(pid: int, file: Path) -> bool:
    """Return whether the process has mapped the file; Linux only."""
    with contextlib.suppress(OSError):
        return str(file) in Path(f"/proc/{pid}/maps").read_text()
    return False
