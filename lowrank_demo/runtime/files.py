"""Atomic file writes, digests, missing files, and over-long names."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError

_LONGEST_NAME = 255
"""Bytes, on every usual file system."""
_CHUNK = 1 << 22


def has_long_name(path: Path) -> bool:
    """Return whether the path has a part that is longer than file systems allow."""
    return any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts)


def must_exist(path: Path, expected: str) -> None:
    """Refuse a path from a user if nothing is there.

    Args:
        path: The path of a file or folder.
        expected: What should be there, for the message.

    Raises:
        UsageError: Nothing is there.
    """
    # Path.exists raises for a name that is too long.
    if not os.access(path, os.F_OK):
        raise UsageError(f"There is no {path}; expected {expected}.")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def temporary_of(path: Path) -> Path:
    """Return where :func:`atomic_write` writes before it renames; the path has no links."""
    return path.with_name(f".{path.name}.tmp")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, to be written to.

    The temporary file is renamed to ``path`` when the block ends, and removed if the block raises. A reader therefore
    sees the old file or the new one, never a partial one. A symbolic link stays one: the file that it leads to is
    replaced.
    """
    target = Path(os.path.realpath(path))
    temporary = temporary_of(target)
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_synced(path: Path, data: bytes) -> None:
    """Write a file as :func:`atomic_write` does, and sync it before it gets its name: a power cut leaves no part."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
