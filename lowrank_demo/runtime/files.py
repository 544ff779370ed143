"""Atomic file writes, and names that no disk takes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_LONGEST_NAME = 255
"""Bytes, on every usual file system."""


def has_long_name(path: Path) -> bool:
    """Return whether the path has a part that is longer than file systems allow."""
    return any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts)


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, to be written to.

    The temporary file is renamed to ``path`` when the block ends, and removed if the block raises. A reader therefore
    sees the old file or the new one, never a partial one.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
