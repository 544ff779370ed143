"""Reading the LMDB format: guards first, then random access, slices and iteration in flat memory.

A truncated file would kill the process (LMDB maps it into memory), so sizes are checked before anything is read.
LMDB has no checksums: :func:`~lowrank_demo.data.lmdb.manifest.verify` compares a file with the manifest of its build.
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

from ...errors import DataError, RecordError
from ...models.architecture import NUM_CLASSES
from .record import Record, decode_record

KEYS = b"__keys__"
_MAGIC = 0xBEEFC0DE
_MAGIC_OFFSET = 16
_KEYS_AT_ONCE = 5_000


def key(index: int) -> bytes:
    """The key of a record."""
    return b"%08d" % index


class Records(Protocol):
    """What a validation needs of a reader."""

    name: str
    file: Path

    def __len__(self) -> int:
        """Number of records."""
        ...

    def read_each(self, indices: range) -> list[Record | RecordError]:
        """Several records, the error in place of each one that is damaged."""
        ...


class LmdbReader:
    """An LMDB file or folder of labelled images, opened read-only. A context manager.

    One environment must not be shared across ``fork``: open one in each process.

    Args:
        path: A single-file environment, or a folder with ``data.mdb``.

    Raises:
        DataError: It is missing, not LMDB, truncated, unfinished, or of another format.
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
        """The records ``range(start, stop, step)``, in order, as for one shard of several.

        Raises:
            RecordError: A record is damaged.
        """
        for at in range(start, min(stop, len(self)), step):
            yield self[at]

    def read(self, indices: range) -> list[Record]:
        """Several records in one transaction.

        Raises:
            RecordError: One is damaged.
        """
        outcomes = self.read_each(indices)
        for outcome in outcomes:
            if isinstance(outcome, RecordError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Record)]

    def read_each(self, indices: range) -> list[Record | RecordError]:
        """Several records in one transaction, the error in place of each one that is damaged."""
        outcomes: list[Record | RecordError] = []
        with self._env.begin() as transaction:
            for index in indices:
                try:
                    value = transaction.get(self._keys[index])
                    if value is None:
                        raise RecordError("it is listed but not there")
                    outcomes.append(decode_record(value))
                except (RecordError, lmdb.Error) as error:
                    outcomes.append(RecordError(f"record {index} of {self.name} is damaged: {error}."))
        return outcomes

    def close(self) -> None:
        """Close the file, once nobody else in this process reads it."""
        if not self._closed:
            self._closed = True
            _release(self._identity)

    def _check_size(self) -> None:
        """Refuse a file that is shorter than its own page count says: reading past its end is fatal (SIGBUS)."""
        wanted = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        found = self.file.stat().st_size
        if found < wanted:
            raise DataError(
                f"{self.name} is cut off: it has {found:,} bytes; expected {wanted:,}. Copy or build it again."
            )

    def _read_keys(self, transaction: lmdb.Transaction) -> Sequence[bytes]:
        packed = transaction.get(KEYS)
        entries = self._env.stat()["entries"]
        if packed is None:
            first = next(iter(transaction.cursor().iternext(keys=True, values=False)), b"")
            if bytes(first)[:8].isdigit():
                raise DataError(
                    f"{self.name} is unfinished: it has {entries:,} records and no list of keys, so its build did not "
                    "end. Build it again."
                )
            raise DataError(f"{self.name} is an LMDB file of another kind; expected one made by build-lmdb.")
        count = entries - 1
        if _are_counted_keys(packed, count):
            return CountedKeys(count)
        try:
            keys = msgpack.unpackb(bytes(packed), raw=True)
        except Exception as error:  # msgpack raises many kinds
            raise DataError(f"The list of keys of {self.name} is damaged; build the file again.") from error
        if not isinstance(keys, list) or not all(isinstance(k, bytes) for k in keys):
            raise DataError(f"The list of keys of {self.name} is {type(keys).__name__}; expected a list of keys.")
        if len(keys) != count:
            raise DataError(f"{self.name} lists {len(keys):,} keys but holds {count:,} records; build it again.")
        return keys

    def _check_samples(self) -> None:
        """Read a few records across the file: a foreign or mislabelled file is refused before the first batch."""
        count = len(self)
        if count == 0:
            raise DataError(f"{self.name} holds no image; expected at least one.")
        for at in sorted({count * i // 32 for i in range(32)} | {count - 1}):
            outcome = self.read_each(range(at, at + 1))[0]
            if isinstance(outcome, RecordError):
                if at == 0:
                    raise DataError(f"{self.name} is not a file of labelled images: {outcome}") from outcome
                continue
            check_label(outcome.label, at, self.name)


class CountedKeys(Sequence[bytes]):
    """The keys ``00000000``, ``00000001``, … without holding them."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        return key(index)


def check_label(label: int, index: int, name: str) -> None:
    """Refuse a label that no output of the networks stands for.

    Raises:
        DataError: It is outside 0..999.
    """
    if not 0 <= label < NUM_CLASSES:
        raise DataError(
            f"Record {index} of {name} has label {label}; expected 0 to {NUM_CLASSES - 1} (ImageNet's order). Build "
            "the file again with the right labels."
        )


def _are_counted_keys(packed: memoryview | bytes, count: int) -> bool:
    """Whether the packed list is 00000000, 00000001, …, compared piece by piece."""
    view = memoryview(packed)
    packer = msgpack.Packer()
    header = packer.pack_array_header(count)
    for mark in (b"\xc4\x08", b"\xa8"):  # byte strings, or text as older writers have it
        piece = len(mark) + 8
        if view[: len(header)] != header or len(view) != len(header) + piece * count:
            continue
        for start in range(0, count, _KEYS_AT_ONCE):
            stop = min(count, start + _KEYS_AT_ONCE)
            at = len(header) + piece * start
            if view[at : at + piece * (stop - start)] != b"".join(mark + key(i) for i in range(start, stop)):
                return False
        return True
    return False


_Identity = tuple[int, int, int]
_open_environments: dict[_Identity, tuple[lmdb.Environment, int]] = {}
_opening = threading.Lock()


def _identity(file: Path) -> _Identity:
    """The file itself, whatever its name, as this process sees it: after a fork it is another's."""
    stat = file.stat()
    return os.getpid(), stat.st_dev, stat.st_ino


def _acquire(identity: _Identity, path: Path) -> lmdb.Environment:
    """The file's environment: a process may open it only once, so several readers share it."""
    with _opening:
        known = _open_environments.get(identity)
        environment = (
            known[0]
            if known
            else lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=True, max_readers=64)
        )
        _open_environments[identity] = (environment, known[1] + 1 if known else 1)
        return environment


def _release(identity: _Identity) -> None:
    with _opening:
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
        raise DataError(f"There is no LMDB file {name}; expected one made by build-lmdb.") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}); expected an LMDB file.") from error
    magic = start[_MAGIC_OFFSET:]
    if magic not in (_MAGIC.to_bytes(4, "little"), _MAGIC.to_bytes(4, "big")):
        raise DataError(f"{name} is not an LMDB file; expected one made by build-lmdb.")
