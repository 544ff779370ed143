"""The disk space that all uploads share, and the files that failed ones leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from starlette.exceptions import HTTPException

FILE_BYTES = 16_000
"""Smallest size that a file counts as. Even one byte takes 8 kB of disk with its folder, and 0.07 ms whenever all files
are measured or swept."""
_MEASURING = 0.1
"""Largest share of the time that goes into measuring a full folder."""


class UploadRoom:
    """The disk space of uploads. Used by one event loop.

    Args:
        folder: The folder of uploaded files.
        max_bytes: Largest size of the folder.
        also_kept: Returns the bytes of files that count as uploads but are kept elsewhere.
    """

    def __init__(self, folder: Path, max_bytes: int, also_kept: Callable[[], int]) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._also_kept = also_kept
        self._measured: int | None = None
        self._since = 0
        """Bytes of all uploads that arrived since the folder was measured."""
        self._measuring = asyncio.Lock()
        self._measured_again = 0.0
        """Earliest moment, by ``time.monotonic``, at which a folder that was full is measured again."""

    async def take(self, size: int) -> None:
        """Count bytes that arrive.

        Raises:
            HTTPException: There is no room for them.
        """
        self._since += size
        if self._fits():
            return
        async with self._measuring:
            if self._fits():  # another upload measured meanwhile
                return
            began = time.monotonic()
            if began < self._measured_again:
                raise _no_room()
            await self.delete_left()
            since = self._since
            # In a thread: the folder may hold thousands of files, and the server has one event loop.
            self._measured = size + await asyncio.to_thread(lambda: folder_bytes(self._folder) + self._also_kept())
            self._since -= since
            if not self._fits():
                now = time.monotonic()
                self._measured_again = now + (now - began) / _MEASURING
                raise _no_room()

    def _fits(self) -> bool:
        return self._measured is not None and self._measured + self._since <= self._max_bytes

    async def delete_left(self) -> None:
        """Delete the files of uploads that failed: those in the folder itself that are no longer open."""
        files = await asyncio.to_thread(_files_in, self._folder)
        # No await from here on, as Gradio has none between closing a file and moving it away.
        arriving = _open_files() if files else set()
        for path in files:
            if arriving is not None and str(path) not in arriving:
                path.unlink(missing_ok=True)


def _no_room() -> HTTPException:
    return HTTPException(503, "The server has no room for more uploads now; try again in half an hour.")


def _files_in(folder: Path) -> list[Path]:
    """Return the files in a folder itself; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return [folder.resolve() / entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _open_files() -> set[str] | None:
    """Return the paths of what this process has open; None where the system does not say."""
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return None
    found: set[str] = set()
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return found


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder, each of at least ``FILE_BYTES``."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):  # deleted meanwhile
                # Not by Path, which takes twice the time.
                total += max(FILE_BYTES, os.lstat(os.path.join(place, name)).st_size)
    return total
