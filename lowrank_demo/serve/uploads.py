"""The labelled files that visitors may validate on: the server's own, a small sample, and uploaded zips."""

from __future__ import annotations

import errno
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..data.lmdb.record import Record
from ..data.lmdb.writer import LmdbWriter
from ..data.walk import Refused
from ..errors import Busy, DiskFull, LowRankError, NotWritten, UsageError
from ..runtime.progress import Progress
from ..runtime.schema import shown
from ..settings import Settings
from .set_build import SetBuild

SAMPLE = "sample-photos.lmdb"
_MAX_SETS = 200
_SET_SECONDS = 2 * 3600


@dataclass(frozen=True)
class Upload:
    """A visitor's own labelled set."""

    token: str
    """Names the set when a validation is started. It cannot be guessed."""
    count: int
    refused: Sequence[Refused]
    """What was left out: photos that cannot be read, and folders that name no class."""


@dataclass(frozen=True)
class _Set:
    """A visitor's set on the disk."""

    path: Path
    title: str
    """Name of the visitor's zip."""
    size: int
    """Bytes."""
    until: float
    """When it is deleted, by ``time.monotonic``."""


def _plain(name: str) -> str:
    """Return a name without what a file system or a report may not allow."""
    return re.sub(r"[^\w .-]", "_", name)[:60].strip() or "photos"


class LabelledFiles:
    """Lists and finds labelled files, and keeps visitors' sets for two hours. Safe for use by several threads.

    Args:
        settings: Folders and limits.
        sample: Photos and labels of the small file that is on offer from the first start.
        sets: Folder for visitors' sets, which only this run uses. It is made when it is needed.
        also_kept: Returns the bytes of uploads, which share the room for sets.
    """

    def __init__(
        self,
        settings: Settings,
        sample: Sequence[tuple[Path, int]],
        sets: Path,
        also_kept: Callable[[], int] = lambda: 0,
    ) -> None:
        self._settings = settings
        self._max_bytes = settings.max_uploads_mb * 1_000_000
        self._sample = sample
        self._folder = settings.lmdb_dir or settings.cache_dir / "lmdb"
        self._sets: dict[str, _Set] = {}
        self._sets_folder = sets
        self._also_kept = also_kept
        self._built = 0
        self._building: set[SetBuild] = set()
        self._ended = False
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """List the files on offer, the sample last. The sample is built if it is missing."""
        self._make_sample()
        if not self._folder.is_dir():
            return []
        found = [path.name for path in sorted(self._folder.iterdir()) if _on_offer(path)]
        return sorted(found, key=lambda name: name == SAMPLE)

    def find(self, name: str) -> tuple[Path, str]:
        """Return the file that a name on offer or an upload's token stands for, and its title. Paths are not accepted.

        Raises:
            UsageError: There is no such file; the message lists those on offer.
        """
        with self._lock:
            kept = self._sets.get(name)
        if kept:
            return kept.path, kept.title
        names = self.names()
        if name not in names:
            raise UsageError(f"There is no file {shown(name)} here; expected one of: {', '.join(names) or 'none'}.")
        return self._folder / name, name

    def building(self, zip_file: Path) -> Generator[Progress | Upload, None, None]:
        """Build a visitor's zip of class-named folders into a labelled file.

        Yields:
            The progress, 0 of 0 photos while the zip is unpacked, and the set in the end. Closing the generator cancels
            the build.

        Raises:
            UsageError: The zip is too large, or its photos are not in class-named folders, or it took too long.
            DataError: The zip is damaged.
            Busy: There is no room for it now.
        """
        token = secrets.token_urlsafe(16)
        self.sweep()
        uploads = self._also_kept()
        with self._lock:
            if self._ended:
                raise Busy("The server is being stopped; try again later.")
            if len(self._sets) >= _MAX_SETS or uploads + self._kept_bytes() >= self._max_bytes:
                raise Busy("The server has no room for more sets now; try again in an hour or two.")
            self._built += 1
            target = self._sets_folder / f"{_plain(zip_file.stem)} {self._built}.lmdb"
            building = SetBuild(
                zip_file,
                target,
                max_file_mb=self._settings.max_file_mb,
                max_zip_mb=self._settings.max_zip_mb,
                max_pixels=self._settings.max_megapixels * 1_000_000,
            )
            self._building.add(building)
        try:
            self._sets_folder.mkdir(parents=True, exist_ok=True)
            yield from building
        except (OSError, NotWritten) as error:
            if not isinstance(error, DiskFull) and getattr(error, "errno", None) != errno.ENOSPC:
                logging.getLogger(__name__).exception("an uploaded set could not be kept")
                raise Busy("The server could not store the set (its log says why); try again later.") from error
            raise Busy("The server could not store the set, because its disk is full; try again later.") from error
        finally:
            # Without the lock: Python may close a forgotten generator in a thread that holds it.
            self._building.discard(building)
        with self._lock:
            self._sets[token] = _Set(target, zip_file.name, target.stat().st_size, time.monotonic() + _SET_SECONDS)
        yield Upload(token, building.count, building.refused)

    def end(self) -> None:
        """End all builds, wait for their child processes, and refuse new ones: the folder of sets will be deleted."""
        with self._lock:
            self._ended = True
            building = list(self._building)
        for build in building:
            build.end()

    def kept_bytes(self) -> int:
        """Return the bytes of all visitors' sets."""
        with self._lock:
            return self._kept_bytes()

    def sweep(self) -> None:
        """Delete the sets that were kept long enough.

        A validation that is reading one continues; one that waits for its turn fails.
        """
        with self._lock:
            over = {token: kept for token, kept in self._sets.items() if kept.until < time.monotonic()}
            for token in over:
                del self._sets[token]
        for kept in over.values():
            for part in kept.path.parent.glob(f"{kept.path.name}*"):
                part.unlink(missing_ok=True)

    def _kept_bytes(self) -> int:
        return sum(kept.size for kept in self._sets.values())

    def _make_sample(self) -> None:
        target = self._folder / SAMPLE
        # If the folder cannot be written, there is no sample.
        with self._lock, suppress(LowRankError, OSError):
            if not target.exists():
                with LmdbWriter(target) as writer:
                    for path, label in self._sample:
                        writer.put(Record(path.read_bytes(), label))


def _on_offer(path: Path) -> bool:
    """Return whether what lies in the folder may be a labelled file, and has a name that the page can show."""
    if path.name.startswith(".") or not path.name.isprintable():  # such as bytes that are not UTF-8
        return False
    # Not a pipe, on which a reader would wait, nor a device.
    return (path.suffix in (".lmdb", ".mdb") and path.is_file()) or (path / "data.mdb").is_file()
