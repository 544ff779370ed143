"""LMDB files: long ones, and ones with any content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import lmdb
import msgpack

from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.data.lmdb.writer import LmdbWriter
from tests.helpers.photos import encoded, open_photo


def build_lmdb(path: Path, records: Iterable[Record]) -> Path:
    """Build a file of these records; return its path."""
    with LmdbWriter(path) as writer:
        for record in records:
            writer.put(record)
    return path


def build_long_lmdb(path: Path, count: int) -> None:
    """Build a file that takes a while to validate: few distinct photos, many labels."""
    photo = open_photo("tower.jpg").resize((256, 300))
    variants = [encoded(photo.rotate(angle), "JPEG") for angle in range(0, 80, 10)]
    build_lmdb(path, (Record(variants[i % len(variants)], i % 1000) for i in range(count)))


def raw_lmdb(path: Path, values: dict[bytes, bytes], subdir: bool = False) -> Path:
    """Build an LMDB file of these keys and values, whether the program can read them or not."""
    environment = lmdb.open(str(path), subdir=subdir, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    environment.close()
    return path


def keys_of(count: int) -> bytes:
    """Return the list of keys that a file of ``count`` records has."""
    packed = msgpack.packb([b"%08d" % i for i in range(count)], use_bin_type=True)
    assert packed
    return packed
