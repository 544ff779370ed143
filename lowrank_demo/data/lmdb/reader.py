"""Read LMDB files: check the file first, then give access to single records, slices and all records in flat memory.

LMDB maps the file into memory, so reading past the end of a truncated one would kill the process: sizes are checked
before anything is read. LMDB has no checksums: :func:`~lowrank_demo.data.lmdb.manifest.verify` compares a file with the
manifest of its build.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import lmdb
import msgpack

from ...errors import DataError, RecordError, UsageError
from ...models.architecture import NUM_CLASSES
from ...runtime.words import counted
from .foreign import likely_writer
from .record import UNLABELLED, Record, decode_record

KEY_LIST = b"__keys__"
"""The key under which tensorpack stores the list of all other keys, in the order of the records."""
_MAGIC = 0xBEEFC0DE
_MAGIC_OFFSET = 16
_KEYS_AT_ONCE = 5_000


def record_key(index: int) -> bytes:
    """Return the key of a record: its number in eight digits, as in tensorpack."""
    return b"%08d" % index


class Records(Protocol):
    """What a validation needs from a reader."""

    name: str
    """Name of the file, for messages."""
    file: Path
    """The file itself; in a folder environment, its ``data.mdb``."""

    def __len__(self) -> int:
        """Return the number of records."""
        ...

    def read_each(self, indices: range) -> list[Record | RecordError]:
        """Return several records, with the error in place of each damaged one."""
        ...


class LmdbReader:
    """An LMDB file or folder of labelled images, opened read-only. A context manager.

    A reader must not be used across ``fork``: open one in each process.

    Args:
        path: The file, or a folder with ``data.mdb`` in it.

    Raises:
        UsageError: There is no such file.
        DataError: It is not LMDB, is truncated or unfinished, or has another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.file = path / "data.mdb" if path.is_dir() else path
        _check_magic(self.file, self.name)
        self._identity = _identity(self.file)
        try:
            self._env = _acquire(self._identity, path)
        except lmdb.Error as error:
            raise DataError(f"{self.name} cannot be opened as LMDB ({error}); build it again.") from error
        self._closed = False
        try:
            self._check_size()
            with self._env.begin(buffers=True) as transaction:
                self._keys = self._read_keys(transaction)
            self._check_samples()
        except lmdb.Error as error:
            self.close()
            raise DataError(f"{self.name} is damaged ({error}); build it again.") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LmdbReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self.read(range(index, index + 1))[0]

    def __iter__(self) -> Iterator[Record]:
        return self.slice(0, len(self))

    def slice(self, start: int, stop: int, step: int = 1) -> Iterator[Record]:
        """Yield the records ``range(start, stop, step)`` in order.

        Raises:
            RecordError: A record is damaged.
        """
        for at in range(start, min(stop, len(self)), step):
            yield self[at]

    def read(self, indices: range) -> list[Record]:
        """Return several records, read in one transaction.

        Raises:
            RecordError: A record is damaged.
        """
        outcomes = self.read_each(indices)
        for outcome in outcomes:
            if isinstance(outcome, RecordError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Record)]

    def read_each(self, indices: range) -> list[Record | RecordError]:
        """Return several records, read in one transaction, with the error in place of each damaged one."""
        outcomes: list[Record | RecordError] = []
        with self._env.begin() as transaction:
            for index in indices:
                try:
                    value = transaction.get(self._keys[index])
                    if value is None:
                        raise RecordError("it is listed but missing")
                    outcomes.append(decode_record(value))
                except (RecordError, lmdb.Error) as error:
                    outcomes.append(RecordError(f"record {index} of {self.name} is damaged: {error}."))
        return outcomes

    def close(self) -> None:
        """Close the reader. The file itself is closed with its last reader in this process."""
        if not self._closed:
            self._closed = True
            _release(self._identity)

    def _check_size(self) -> None:
        """Refuse a file that is shorter than its page count says: reading past the end kills the process (SIGBUS)."""
        wanted = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        found = self.file.stat().st_size
        if found < wanted:
            raise DataError(
                f"{self.name} is cut off: it has {counted(found, 'byte')}; expected {wanted:,}. Copy or build it again."
            )

    def _read_keys(self, transaction: lmdb.Transaction) -> Sequence[bytes]:
        packed = transaction.get(KEY_LIST)
        entries = self._env.stat()["entries"]
        if packed is None:
            self._refuse_foreign(transaction)
            if self._holds_records(transaction):
                raise DataError(
                    f"{self.name} is unfinished: it has {counted(entries, 'record')} but no list of keys, so its build "
                    "did not finish. Build it again."
                )
            raise DataError(f"{self.name} is an LMDB file of another kind; expected one made by build-lmdb.")
        count = entries - 1
        if _are_sequential(packed, count):
            return SequentialKeys(count)
        try:
            keys = msgpack.unpackb(bytes(packed), raw=True)
        except Exception as error:  # msgpack raises many kinds
            self._refuse_foreign(transaction)
            raise DataError(f"The list of keys of {self.name} is damaged; build the file again.") from error
        if not isinstance(keys, list) or not all(isinstance(k, bytes) for k in keys):
            raise DataError(
                f"The list of keys of {self.name} is of type {type(keys).__name__}; expected a list of byte strings. "
                "Build the file again."
            )
        if len(keys) != count:
            raise DataError(
                f"{self.name} lists {counted(len(keys), 'key')} but holds {counted(count, 'record')}; build it again."
            )
        return keys

    def _refuse_foreign(self, transaction: lmdb.Transaction) -> None:
        """Raise a DataError if it can be told what else the file is."""
        found = likely_writer(transaction)
        if found:
            raise DataError(
                f"{self.name} is not a file of labelled images as build-lmdb writes it: it seems to be {found}. Build "
                "one from the images, with build-lmdb."
            )

    def _holds_records(self, transaction: lmdb.Transaction) -> bool:
        """Return whether the first record is one that a build writes."""
        value = transaction.get(record_key(0))
        try:
            return value is not None and bool(decode_record(bytes(value)))
        except RecordError:
            return False

    def _check_samples(self) -> None:
        """Read a few records across the file, to refuse a foreign or mislabelled one before the first batch."""
        count = len(self)
        if count == 0:
            raise DataError(f"{self.name} holds no images; expected at least one.")
        for at in sorted({count * i // 32 for i in range(32)} | {count - 1}):
            outcome = self.read_each(range(at, at + 1))[0]
            if isinstance(outcome, RecordError):
                if at == 0:
                    with self._env.begin(buffers=True) as transaction:
                        self._refuse_foreign(transaction)
                    raise DataError(f"{self.name} is not a file of labelled images: {outcome}") from outcome
                continue
            if outcome.label != UNLABELLED:
                check_label(outcome.label, at, self.name)


class SequentialKeys(Sequence[bytes]):
    """The keys ``00000000``, ``00000001``, …, computed instead of stored."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return record_key(index)


def check_label(label: int, index: int, name: str) -> None:
    """Check that a network output stands for a label.

    Args:
        label: The label.
        index: Number of its record, for the message.
        name: Name of its file, for the message.

    Raises:
        DataError: The label is outside 0 to 999.
    """
    if not 0 <= label < NUM_CLASSES:
        raise DataError(
            f"Record {index} of {name} has label {label}; expected 0 to {NUM_CLASSES - 1} (ImageNet's order). Build "
            "the file again with the right labels."
        )


def _are_sequential(packed: memoryview | bytes, count: int) -> bool:
    """Return whether the packed list is 00000000, 00000001, …, comparing it piece by piece without unpacking it."""
    view = memoryview(packed)
    packer = msgpack.Packer()
    header = packer.pack_array_header(count)
    for prefix in (b"\xc4\x08", b"\xa8"):  # byte strings, or text as older writers wrote it
        piece = len(prefix) + 8
        if view[: len(header)] != header or len(view) != len(header) + piece * count:
            continue
        for start in range(0, count, _KEYS_AT_ONCE):
            stop = min(count, start + _KEYS_AT_ONCE)
            at = len(header) + piece * start
            if view[at : at + piece * (stop - start)] != b"".join(prefix + record_key(i) for i in range(start, stop)):
                return False
        return True
    return False


_Identity = tuple[int, int, int]
_open_environments: dict[_Identity, tuple[lmdb.Environment, int]] = {}
_open_environments_lock = threading.Lock()


def _identity(file: Path) -> _Identity:
    """Return what identifies the open file: process, device and inode.

    Links to a file share its environment; a forked process opens its own.
    """
    stat = file.stat()
    return os.getpid(), stat.st_dev, stat.st_ino


def _acquire(identity: _Identity, path: Path) -> lmdb.Environment:
    """Return the file's environment. A process may open a file only once, so all its readers share one environment."""
    with _open_environments_lock:
        known = _open_environments.get(identity)
        environment = (
            known[0]
            if known
            else lmdb.open(
                os.fsencode(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=True, max_readers=64
            )
        )
        _open_environments[identity] = (environment, known[1] + 1 if known else 1)
        return environment


def _release(identity: _Identity) -> None:
    with _open_environments_lock:
        environment, readers = _open_environments[identity]
        if readers > 1:
            _open_environments[identity] = (environment, readers - 1)
        else:
            del _open_environments[identity]
            environment.close()


def _check_magic(file: Path, name: str) -> None:
    try:
        with file.open("rb") as opened:
            start = opened.read(_MAGIC_OFFSET + 4)
    except FileNotFoundError as error:
        raise UsageError(f"There is no LMDB file {name}; expected one made by build-lmdb.") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}); expected an LMDB file.") from error
    magic = start[_MAGIC_OFFSET:]
    if magic not in (_MAGIC.to_bytes(4, "little"), _MAGIC.to_bytes(4, "big")):
        raise DataError(f"{name} is not an LMDB file; expected one made by build-lmdb.")
