"""Write LMDB files, all or nothing.

Records go in batches to a temporary file beside the target; the list of keys comes last. The file is synced, opened
again, checked, and only then renamed. A build that is killed at any moment leaves the finished file or none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import lmdb
import msgpack

from ...errors import DataError, DiskFull, NotWritten, UsageError
from ...runtime.files import file_sha256, has_long_name, temporary_of, write_synced
from ...runtime.name_lock import name_lock
from ...runtime.outputs import output_file
from ...runtime.stopping import undisturbed
from ...runtime.words import counted
from .manifest import Manifest, manifest_path, write_manifest
from .reader import KEY_LIST, LmdbReader, record_key
from .record import Record, encode_record

_BATCH_BYTES = 4 << 20
_FULL_BYTES = 16 << 20
"""A disk with less room than this counts as full if LMDB does not say so itself."""
_INITIAL_MAP_BYTES = 1 << 28


class LmdbWriter:
    """A context manager that writes one LMDB file and its manifest. If its block raises, it leaves no file behind.

    Set ``refused`` before the block ends: the manifest states it.

    Args:
        path: The file to write. No extension is added.
        shortest_edge: What the images were resized to, for the manifest; None if they were not.
        seed: What the order was shuffled with, for the manifest; None if it was not.
        overwrite: Replace ``path`` if it exists.

    Raises:
        UsageError: ``path`` exists, cannot be written or is not a regular file, or another process is building it.
    """

    def __init__(
        self, path: Path, *, shortest_edge: int | None = None, seed: int | None = None, overwrite: bool = False
    ) -> None:
        self.path = path = output_file(path)
        self.count = 0
        self.refused = 0
        self._edge = shortest_edge
        self._seed = seed
        self._classes: Counter[int] = Counter()
        self._waiting: list[tuple[bytes, bytes]] = []
        self._waiting_bytes = 0
        if path.exists() and not overwrite:
            raise UsageError(f"{path} already exists; choose another name, or replace it with --overwrite.")
        self._temporary = path.with_name(f".{path.name}.building")
        if has_long_name(temporary_of(manifest_path(self._temporary))):
            raise UsageError(f"The name {path.name} is too long for the files of a build; choose a shorter one.")
        self._ending = contextlib.ExitStack()

    def __enter__(self) -> LmdbWriter:
        with contextlib.ExitStack() as ending:
            try:
                if not ending.enter_context(name_lock(self.path.with_name(f".{self.path.name}.lock"))):
                    raise UsageError(f"{self.path} is being built by another process; wait for it or stop it.")
                # A killed build may have left a file that cannot be told from a damaged one: start again.
                self._discard()
                ending.callback(self._discard)
                self._env = lmdb.open(
                    os.fsencode(self._temporary), subdir=False, map_size=_INITIAL_MAP_BYTES, lock=False, sync=False
                )
            except (lmdb.Error, OSError) as error:
                raise _not_written(self.path, error) from error
            self._ending = ending.pop_all()
        self._background = ThreadPoolExecutor(1, thread_name_prefix="lmdb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with self._ending:
                try:
                    if kind is None:
                        self._finish()
                finally:
                    self._background.shutdown(cancel_futures=True)
                    self._env.close()
        except (lmdb.Error, OSError) as failure:
            raise _not_written(self.path, failure) from failure

    def _discard(self) -> None:
        self._temporary.unlink(missing_ok=True)
        manifest_path(self._temporary).unlink(missing_ok=True)

    def put(self, record: Record) -> None:
        """Add one record.

        Raises:
            NotWritten: The records could not be written, usually because the disk is full.
        """
        value = encode_record(record)
        self._waiting.append((record_key(self.count), value))
        self._waiting_bytes += len(value)
        self._classes[record.label] += 1
        self.count += 1
        if self._waiting_bytes >= _BATCH_BYTES:
            try:
                self._commit()
            except (lmdb.Error, OSError) as error:
                raise _not_written(self.path, error) from error

    def _commit(self) -> None:
        """Write the waiting records in one transaction, enlarging the map as often as needed."""
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for name, value in self._waiting:
                        transaction.put(name, value, append=name != KEY_LIST, overwrite=False)
                break
            except lmdb.MapFullError:
                self._env.set_mapsize(self._env.info()["map_size"] * 2)
        self._waiting.clear()
        self._waiting_bytes = 0
        # The disk works while the next records are read. The last sync reports anything that it failed to write.
        self._background.submit(_flush, self._temporary)

    def _finish(self) -> None:
        if self.count == 0:
            raise DataError(f"No image could be stored in {self.path.name}, so it was not written.")
        self._commit()
        packer = msgpack.Packer(use_bin_type=True)
        names = b"".join(packer.pack(record_key(i)) for i in range(self.count))
        self._waiting = [(KEY_LIST, packer.pack_array_header(self.count) + names)]
        self._commit()
        # While the disk works, the file is read for its digest.
        synced = self._background.submit(self._env.sync, True)
        sha256 = file_sha256(self._temporary)
        synced.result()
        self._env.close()
        with LmdbReader(self._temporary) as reader:
            if len(reader) != self.count:
                raise DataError(
                    f"{self.path.name} was written incompletely ({len(reader):,} of {counted(self.count, 'record')}); "
                    "try again."
                )
        manifest = Manifest(
            file=self.path.name,
            count=self.count,
            bytes=self._temporary.stat().st_size,
            sha256=sha256,
            shortest_edge=self._edge,
            classes={str(label): number for label, number in sorted(self._classes.items())},
            refused=self.refused,
            seed=self._seed,
        )
        write_manifest(self._temporary, manifest)
        with undisturbed():
            self._name()

    def _name(self) -> None:
        """Give the file and its manifest their names. A kill on the way leaves a file without a manifest, at worst."""
        target = manifest_path(self.path)
        before = _contents(target)
        target.unlink(missing_ok=True)
        try:
            os.replace(self._temporary, self.path)
        except OSError:
            _put_back(target, before)
            raise
        os.replace(manifest_path(self._temporary), target)
        _sync_folder(self.path.parent)


def _contents(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _put_back(file: Path, contents: bytes | None) -> None:
    """Give a file the contents that it had; None removes it."""
    if contents is None:
        file.unlink(missing_ok=True)
    else:
        write_synced(file, contents)


def _flush(path: Path) -> None:
    # Do not sync with LMDB: it would read from its map, which may be growing meanwhile.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _not_written(path: Path, error: lmdb.Error | OSError) -> NotWritten:
    if _is_full(path.parent, error):
        return DiskFull(
            f"{path.name} could not be written: the disk is full. Nothing was left behind; free space and try again."
        )
    cause = error.strerror if isinstance(error, OSError) else error
    return NotWritten(f"{path} could not be written ({cause}). Nothing was left behind; fix that and try again.")


def _is_full(folder: Path, error: lmdb.Error | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    # LMDB reports a write that fitted only in part as an input/output error.
    in_part = os.strerror(errno.EIO) in str(error) and shutil.disk_usage(folder).free < _FULL_BYTES
    return isinstance(error, lmdb.DiskError) or in_part
