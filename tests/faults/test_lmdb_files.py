"""Damaged, foreign and hostile LMDB files: a typed error or the right records; this process never dies of one."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from lowrank_demo.data.lmdb import isolated
from lowrank_demo.data.lmdb.isolated import IsolatedReader
from lowrank_demo.data.lmdb.manifest import verify
from lowrank_demo.data.lmdb.reader import check_label
from lowrank_demo.data.lmdb.record import Record, encode_record
from lowrank_demo.errors import DataError, ProcessLost, RecordError
from tests.helpers.lmdb_files import keys_of, raw_lmdb
from tests.helpers.photos import encoded, open_photo
from tests.helpers.processes import children, opened

PAGE = 4096
COUNT = 40


@pytest.fixture(scope="module")
def records() -> list[Record]:
    photo = open_photo().resize((256, 256))
    return [Record(encoded(photo.rotate(9 * i), "JPEG"), 25 * i) for i in range(COUNT)]


def read_all(path: Path) -> list[Record | RecordError]:
    """Everything in the file, as a validation reads it."""
    with IsolatedReader(path) as reader:
        outcomes = reader.read_each(range(len(reader)))
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Record):
                check_label(outcome.label, index, reader.name)
        return outcomes


def refused_or_right(path: Path, records: list[Record]) -> None:
    """What can be read is right, and what is not is an error with a sentence; the manifest knows in any case."""
    try:
        outcomes = read_all(path)
    except DataError as error:
        assert str(error).endswith(".")
        assert "Traceback" not in str(error)
    else:
        assert len(outcomes) == len(records)
    with pytest.raises(DataError, match="It was changed or damaged"):
        verify(path)


CUTS: dict[str, Callable[[int], int]] = {
    "to nothing": lambda size: 0,
    "to one byte": lambda size: 1,
    "inside the first page": lambda size: 1000,
    "after one page": lambda size: PAGE,
    "after two pages": lambda size: 2 * PAGE,
    "at half, between pages": lambda size: size // PAGE // 2 * PAGE,
    "at half, inside a page": lambda size: size // PAGE // 2 * PAGE + 777,
    "by one page": lambda size: size - PAGE,
    "by one byte": lambda size: size - 1,
}


@pytest.mark.parametrize("cut", CUTS)
def test_cut_off(cut: str, built: Path) -> None:
    os.truncate(built, CUTS[cut](built.stat().st_size))
    with pytest.raises(DataError):
        read_all(built)


@pytest.mark.parametrize("filling", ["zeros", "random", "text"])
def test_garbage(filling: str, tmp_path: Path) -> None:
    path = tmp_path / "garbage.lmdb"
    contents = {
        "zeros": bytes(1 << 20),
        "random": random.Random(1).randbytes(1 << 20),
        "text": b"<!doctype html>" * 999,
    }
    path.write_bytes(contents[filling])
    with pytest.raises(DataError, match="not an LMDB file"):
        read_all(path)


@pytest.mark.parametrize("filling", ["zeroed", "random"])
@pytest.mark.parametrize("place", [0, 1, 2, 0.25, 0.5, 0.75, -2, -1])
def test_one_page_overwritten(place: float, filling: str, built: Path, records: list[Record]) -> None:
    pages = built.stat().st_size // PAGE
    page = place % pages if isinstance(place, int) else int(place * pages)
    with built.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(bytes(PAGE) if filling == "zeroed" else random.Random(page).randbytes(PAGE))
    refused_or_right(built, records)


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bits(seed: int, built: Path, records: list[Record]) -> None:
    randomness = random.Random(seed)
    data = bytearray(built.read_bytes())
    for _ in range(1 + 5 * seed):
        # Half of them where LMDB keeps its own pages.
        at = randomness.randrange(len(data) if randomness.random() < 0.5 else 8 * PAGE)
        data[at] ^= 1 << randomness.randrange(8)
    built.write_bytes(data)
    refused_or_right(built, records)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_values_that_carry_a_pickle(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(mark))
    array = {b"nd": True, b"type": "|O8", b"kind": b"O", b"shape": (1,), b"data": bomb}
    values = [bomb, msgpack.packb([array, 3]), msgpack.packb([bomb, array])]
    path = raw_lmdb(
        tmp_path / "bomb.lmdb",
        {b"%08d" % i: value or b"" for i, value in enumerate(values)} | {b"__keys__": keys_of(len(values))},
    )
    with pytest.raises(DataError, match="not a file of labelled images"):
        read_all(path)
    raw_lmdb(path, {b"__keys__": bomb})
    with pytest.raises(DataError, match="a file of pickles"):
        read_all(path)
    assert not mark.exists()


KEYS = {
    "missing": None,
    "too many": keys_of(9),
    "too few": keys_of(3),
    "not a list": msgpack.packb({b"a": 1}),
    "of numbers": msgpack.packb([1, 2, 3, 4]),
    "cut off": keys_of(4)[:-3],
    "of names that are not there": msgpack.packb([b"x%07d" % i for i in range(4)], use_bin_type=True),
}


@pytest.mark.parametrize("kind", KEYS)
def test_lists_of_keys(kind: str, tmp_path: Path, records: list[Record]) -> None:
    values = {b"%08d" % i: encode_record(records[i]) for i in range(4)}
    keys = KEYS[kind]
    path = raw_lmdb(tmp_path / "keys.lmdb", values | ({b"__keys__": keys} if keys else {}))
    with pytest.raises(DataError):
        read_all(path)


FOREIGN = {
    "text": b"a photo of a lion",
    "protocol buffer": b"\x08\x03\x10\xe3\x01\x18\xe3\x01\x22\x04abcd\x28\x07",
    "a pair of numbers": msgpack.packb([1, 2]),
    "label first": msgpack.packb([7, b"\xff\xd8\xff"]),
    "three parts": msgpack.packb([b"\xff\xd8\xff", 7, 7]),
    "label as text": msgpack.packb([b"\xff\xd8\xff", "lion"]),
    "deeply nested": b"\x91" * 3000 + b"\x00",
    "a list said to be huge": b"\xdd\xff\xff\xff\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_records(kind: str, tmp_path: Path) -> None:
    value = FOREIGN[kind]
    assert value is not None
    path = raw_lmdb(tmp_path / "foreign.lmdb", {b"00000000": value, b"__keys__": keys_of(1)})
    with pytest.raises(DataError, match="not a file of labelled images"):
        read_all(path)


@pytest.mark.parametrize("label", [-1, 1000, 2**40, -(2**63)])
def test_labels_out_of_range(label: int, tmp_path: Path) -> None:
    path = raw_lmdb(
        tmp_path / "label.lmdb", {b"00000000": encode_record(Record(b"\xff\xd8", label)), b"__keys__": keys_of(1)}
    )
    with pytest.raises(DataError, match="expected 0 to 999"):
        read_all(path)


def test_cut_off_while_it_is_read(built: Path) -> None:
    with IsolatedReader(built) as reader:
        assert isinstance(reader.read_each(range(1))[0], Record)
        os.truncate(built, 2 * PAGE)
        with pytest.raises(DataError, match="cut off or changed while it was read"):
            reader.read_each(range(COUNT))
        with pytest.raises(DataError, match="cut off or changed while it was read"):
            reader.read_each(range(COUNT))


def test_removed_while_it_is_read(built: Path, records: list[Record]) -> None:
    with IsolatedReader(built) as reader:
        built.unlink()
        assert reader.read_each(range(COUNT)) == records


def test_replaced_while_it_is_read(built: Path, records: list[Record], tmp_path: Path) -> None:
    other = raw_lmdb(tmp_path / "other.lmdb", {b"a": b"b"})
    with IsolatedReader(built) as reader:
        os.replace(other, built)
        assert reader.read_each(range(COUNT)) == records


def test_overwritten_while_it_is_read(built: Path) -> None:
    size = built.stat().st_size
    with IsolatedReader(built) as reader:
        with built.open("r+b") as file:
            file.write(bytes(size))
        try:
            outcomes = reader.read_each(range(COUNT))
        except DataError:
            return
        assert all(isinstance(outcome, RecordError) for outcome in outcomes)


def test_reading_process_killed(built: Path) -> None:
    with IsolatedReader(built) as reader:
        (process,) = (pid for pid in children(os.getpid()) if opened(pid, built))
        os.kill(process, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(ProcessLost, match=r"ended by SIGKILL .* nothing is known to be wrong with the file"):
                reader.read_each(range(1))
    assert process not in children(os.getpid()), "nothing of it is left"


@pytest.mark.parametrize("sent", ["", "no pickle"], ids=["nothing", "something else"])
def test_reading_process_that_stops_answering(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nprintf '{sent}'\nexec sleep 60 >&-\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    monkeypatch.setattr(isolated, "_END_SECONDS", 0.2)
    with pytest.raises(ProcessLost, match=r"still runs, but what it sent is not an answer; nothing is known"):
        IsolatedReader(built)
