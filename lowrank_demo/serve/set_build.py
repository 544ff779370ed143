"""Builds a labelled file from a visitor's zip, in child processes that may be killed."""

from __future__ import annotations

import tempfile
import threading
import time
import zipfile
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path, PurePath, PurePosixPath

from ..data.build import LmdbBuild, strangers_record
from ..data.samples import Sample, Samples, by_folder, labels_of
from ..data.walk import Refused, is_hidden, is_image_name, listed
from ..decode.base import EDGE
from ..errors import DataError, ImageError, TooCostly, UsageError
from ..runtime.confined import Children
from ..runtime.progress import Progress
from ..runtime.words import counted

MAX_PHOTOS = 5_000
_BUILD_SECONDS = 600.0
"""Longest time that building one set may take."""
_UNPACK_CPU_SECONDS = 20.0
_STEP_SECONDS = 0.2
_UNPACKING = Progress(0, 0, 0.0)
_MAX_UNPACKED = 4
"""Largest unpacked size, in multiples of the largest zip."""
_ENCRYPTED = 1
"""The bit in a zip member's flags that marks it as encrypted."""
_MAX_SHOWN = 80
"""Characters of a name in the zip that messages show."""


class SetBuild:
    """A build of an LMDB file from a zip of photos in class-named folders, resized to shortest edge 256.

    Iterate over it to do the work; it yields progress, which is 0 of 0 photos while the zip is unpacked. The zip and
    every photo in it are read in child processes; closing the iterator kills them.

    Args:
        zip_file: The zip.
        target: The LMDB file to build. The zip is unpacked beside it.
        max_file_mb: Largest photo in the zip, in megabytes.
        max_zip_mb: Largest zip, in megabytes; its photos may take four times as much.
        max_pixels: Pixels of the largest photo.
        seconds: Longest time for the whole build.
    """

    def __init__(
        self,
        zip_file: Path,
        target: Path,
        *,
        max_file_mb: int,
        max_zip_mb: int,
        max_pixels: int,
        seconds: float = _BUILD_SECONDS,
    ) -> None:
        self._zip, self._target = zip_file, target
        self._max_file_mb, self._max_zip_mb, self._max_pixels = max_file_mb, max_zip_mb, max_pixels
        self._seconds = seconds
        self._unpacker = Children(1, _UNPACK_CPU_SECONDS, seconds)
        self._decoder = Children(1)
        self.count = 0
        """Photos in the finished file."""
        self.refused: Sequence[Refused] = ()

    def __iter__(self) -> Generator[Progress, None, None]:
        """Do the work.

        Raises:
            UsageError: The zip is too large, or it holds no photo, or its classes are numbered from 1, or the build
                took too long.
            DataError: The file is not a zip, or nothing in it can be used; the message says why.
        """
        ends = time.monotonic() + self._seconds
        # A child may still be working on a photo when the time is up.
        timer = threading.Timer(self._seconds, self.end)
        timer.daemon = True
        timer.start()
        try:
            yield from self._steps(ends)
        finally:
            timer.cancel()

    def end(self) -> None:
        """End the child processes, and wait for them, from any thread: the build fails, or stores what it has."""
        self._unpacker.end()
        self._decoder.end()

    def _steps(self, ends: float) -> Generator[Progress, None, None]:
        size = self._zip.stat().st_size
        if size > self._max_zip_mb * 1_000_000:
            raise UsageError(f"The zip has {size / 1e6:.0f} MB; expected at most {self._max_zip_mb}: send it in parts.")
        with tempfile.TemporaryDirectory(dir=self._target.parent) as folder:
            samples = yield from self._unpacked(Path(folder), ends)

            def encode(data: bytes) -> bytes:
                try:
                    return self._decoder.call(strangers_record, data, self._max_pixels)
                except TooCostly as error:
                    raise ImageError(
                        "It takes too much time or memory to decode; expected an ordinary photo."
                    ) from error

            building = LmdbBuild(samples, self._target, shortest_edge=EDGE, encode=encode)
            # The child ends first: a build that is cancelled does not wait for the photo that it works on.
            with closing(iter(building)) as steps, self._decoder:
                for progress in steps:
                    self._check_time(ends, f"for {progress.done:,} of {counted(progress.total, 'photo')}")
                    yield progress
            self.count, self.refused = building.count, building.refused

    def _unpacked(self, folder: Path, ends: float) -> Generator[Progress, None, Samples]:
        max_file, max_total = self._max_file_mb * 1_000_000, _MAX_UNPACKED * self._max_zip_mb * 1_000_000
        with ThreadPoolExecutor(1) as pool, self._unpacker:
            unpacking = pool.submit(self._unpacker.call, unpack, self._zip, folder, max_file, max_total)
            while not wait([unpacking], _STEP_SECONDS).done:
                self._check_time(ends, "to unpack")
                yield _UNPACKING
            try:
                return unpacking.result()
            except TooCostly as error:
                self._check_time(ends, "to unpack")
                raise DataError(
                    "The zip takes too much time or memory to unpack; expected an ordinary zip: send it in parts."
                ) from error

    def _check_time(self, ends: float, what: str) -> None:
        if time.monotonic() > ends:
            raise UsageError(
                f"The set took more than {self._seconds / 60:.0f} minutes {what}; send it in parts, or with smaller "
                "photos."
            )


def _opened(zip_file: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(zip_file)
    except MemoryError:
        raise
    except Exception as error:  # on a damaged directory zipfile raises nearly any type
        raise DataError("The file is not a zip that can be read; expected a zip of class-named folders.") from error


def unpack(zip_file: Path, folder: Path, max_file: int, max_total: int) -> Samples:
    """Write the photos as ``<number>.<extension>``: no path in the archive reaches the file system.

    Call it in a child process: a zip may cost much time and memory.

    Args:
        zip_file: The zip.
        folder: Where the photos go.
        max_file: Bytes of the largest photo.
        max_total: Bytes of all photos.

    Raises:
        UsageError: There are too many photos or none, or their classes are numbered from 1.
        DataError: The file is not a zip, or nothing in it can be used; the message says why.
        OSError: A photo cannot be written.
    """
    with _opened(zip_file) as archive:
        return _unpack(archive, folder, max_file, max_total)


def _unpack(archive: zipfile.ZipFile, folder: Path, max_file: int, max_total: int) -> Samples:
    photos = [(item, path) for item in archive.infolist() if _is_photo(item, path := _path(item))]
    if not photos:
        raise UsageError("The zip holds no photo; expected photos in folders named by class, such as lion/1.jpg.")
    if len(photos) > MAX_PHOTOS:
        raise UsageError(
            f"The zip holds {counted(len(photos), 'photo')}; expected at most {MAX_PHOTOS:,}: send it in parts."
        )
    labels = labels_of((path for _, path in photos), by_file_name=True)
    samples: list[Sample] = []
    without: list[tuple[PurePath, str]] = []
    unread: list[Refused] = []
    total = 0
    for number, ((item, path), label) in enumerate(zip(photos, labels, strict=True)):
        shown_as = Path(str(path)[:_MAX_SHOWN])
        if isinstance(label, str):
            without.append((shown_as, label))
            continue
        try:
            data = _read(archive, item, max_file + 1)
        except DataError as error:
            unread.append(Refused(shown_as, str(error)))
            continue
        total += len(data)
        if total > max_total:
            raise UsageError(f"The zip unpacks to more than {max_total / 1e6:.0f} MB; send it in parts.")
        if len(data) > max_file:
            unread.append(Refused(shown_as, f"It is larger than {max_file / 1e6:.0f} MB; make it smaller."))
            continue
        target = folder / f"{number:05d}{path.suffix.lower()}"
        target.write_bytes(data)
        samples.append(Sample(target, label, shown_as))
    refused = [*unread, *by_folder(without)]
    if not samples:
        raise DataError(f"No photo in the zip can be used; expected photos in folders such as lion.{listed(refused)}")
    return Samples(samples, refused)


def _read(archive: zipfile.ZipFile, item: zipfile.ZipInfo, limit: int) -> bytes:
    """Return at most ``limit`` bytes: the archive's directory may state wrong sizes.

    Raises:
        DataError: The member is damaged, encrypted, or compressed in a way that Python does not know.
    """
    if item.flag_bits & _ENCRYPTED:
        raise DataError("It is encrypted; expected a zip without a password.")
    try:
        with archive.open(item) as source:
            return source.read(limit)
    except MemoryError:
        raise
    except NotImplementedError as error:
        raise DataError(f"It cannot be unpacked ({error}); expected an ordinary zip.") from error
    except Exception as error:  # each of the unpackers raises its own types, OSError among them
        raise DataError("It is damaged in the zip; expected a whole file: make the zip again.") from error


def _path(item: zipfile.ZipInfo) -> PurePosixPath:
    # Some Windows programs write backslashes as separators.
    return PurePosixPath(item.filename.replace("\\", "/"))


def _is_photo(item: zipfile.ZipInfo, path: PurePosixPath) -> bool:
    hidden = any(is_hidden(part) for part in path.parts[:-1] if part != "..")
    return not item.is_dir() and not hidden and is_image_name(path.name)
