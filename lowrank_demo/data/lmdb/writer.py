"""Writing the LMDB format: all or nothing.

Records go to a temporary file beside the target in committed batches, the list of keys comes last, the file is synced,
opened again and checked, and only then renamed. Killed at any moment, a build leaves the finished file or none.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from pathlib import Path
from types import TracebackType

import lmdb
import msgpack
from filelock import FileLock, Timeout

from ...errors import DataError, NotWritten, UsageError
from .manifest import Manifest, file_sha256, write_manifest
from .reader import KEYS, LmdbReader, key
from .record import Record, encode_record

_BATCH_BYTES = 16 << 20
_FIRST_MAP = 1 << 28


class LmdbWriter:
    """A context manager that builds one file; leaving it by an exception leaves nothing.

    Args:
        path: The finished file, named as the user typed it.
        shortest_edge: For the manifest: what the images were resized to.
        overwrite: Replace a file that is there.

    Raises:
        UsageError: The file is there already, or another process is building it.
    """

    def __init__(self, path: Path, *, shortest_edge: int | None = None, overwrite: bool = False) -> None:
        self.path = path
        self.count = 0
        self.refused = 0
        self._edge = shortest_edge
        self._classes: Counter[int] = Counter()
        self._waiting: list[tuple[bytes, bytes]] = []
        self._waiting_bytes = 0
        if path.is_dir():
            raise UsageError(f"{path} is a folder; expected the name of the file to build.")
        if path.exists() and not overwrite:
            raise UsageError(f"{path} is there already; choose another name, or allow it with --overwrite.")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = path.with_name(f".{path.name}.building")
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))

    def __enter__(self) -> LmdbWriter:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(f"{self.path} is being built by another process; wait for it or stop it.") from error
        # What a killed build left cannot be told from damage, so it is begun anew.
        self._temporary.unlink(missing_ok=True)
        self._env = lmdb.open(str(self._temporary), subdir=False, map_size=_FIRST_MAP, lock=False, sync=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        except (lmdb.Error, OSError) as failure:
            raise _no_room(self.path, failure) from failure
        finally:
            self._env.close()
            self._temporary.unlink(missing_ok=True)
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)

    def put(self, record: Record) -> None:
        """Add one image.

        Raises:
            DataError: The disk is full.
        """
        value = encode_record(record)
        self._waiting.append((key(self.count), value))
        self._waiting_bytes += len(value)
        self._classes[record.label] += 1
        self.count += 1
        if self._waiting_bytes >= _BATCH_BYTES:
            try:
                self._commit()
            except (lmdb.Error, OSError) as error:
                raise _no_room(self.path, error) from error

    def _commit(self) -> None:
        """Write what waits in one transaction, with a larger map where it does not fit."""
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for name, value in self._waiting:
                        transaction.put(name, value, append=name != KEYS, overwrite=False)
                break
            except lmdb.MapFullError:
                self._env.set_mapsize(self._env.info()["map_size"] * 2)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _finish(self) -> None:
        if self.count == 0:
            raise DataError(f"No image could be stored in {self.path.name}; nothing was written.")
        self._commit()
        packer = msgpack.Packer(use_bin_type=True)
        names = b"".join(packer.pack(key(i)) for i in range(self.count))
        self._waiting = [(KEYS, packer.pack_array_header(self.count) + names)]
        self._commit()
        self._env.sync(True)
        self._env.close()
        with LmdbReader(self._temporary) as reader:
            if len(reader) != self.count:
                raise DataError(f"{self.path.name} was not written whole ({len(reader)} of {self.count}); try again.")
        with self._temporary.open("rb+") as file:
            os.fsync(file.fileno())
        manifest = Manifest(
            file=self.path.name,
            count=self.count,
            bytes=self._temporary.stat().st_size,
            sha256=file_sha256(self._temporary),
            shortest_edge=self._edge,
            classes={str(label): number for label, number in sorted(self._classes.items())},
            refused=self.refused,
        )
        # The manifest first: a file that is there can be verified, whenever the build was ended.
        write_manifest(self.path, manifest)
        os.replace(self._temporary, self.path)
        _sync_folder(self.path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _no_room(path: Path, error: Exception) -> NotWritten:
    # LMDB calls a write that did not fit an input/output error.
    full = shutil.disk_usage(path.parent).free < _BATCH_BYTES or (
        isinstance(error, OSError) and error.errno == errno.ENOSPC
    )
    cause = "the disk is full" if full else str(error)
    return NotWritten(f"{path.name} could not be written: {cause}. Nothing was left behind; free space and try again.")
