"""LMDB files: compatible with tensorpack, checked for damage, written all or nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import msgpack
import pytest

from lowrank_demo.data.lmdb.isolated import IsolatedReader
from lowrank_demo.data.lmdb.manifest import manifest_path, read_manifest, verify
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.data.lmdb.record import Record, encode_record
from lowrank_demo.data.lmdb.writer import LmdbWriter
from lowrank_demo.errors import DataError, NotWritten, RecordError, UsageError
from tests.helpers.lmdb_files import build_lmdb, keys_of, raw_lmdb
from tests.helpers.packages import installed
from tests.helpers.paths import ROOT, SHARED_LMDB
from tests.helpers.photos import encoded, open_photo

LABELS = [*range(256, 1000, 7), 0, 255, 256, 999]


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [Record(encoded(open_photo().resize((256, 256 + i % 5)), "JPEG"), label) for i, label in enumerate(LABELS)]


def test_round_trip_with_labels_above_255(built: Path, records: list[Record]) -> None:
    with LmdbReader(built) as reader:
        assert len(reader) == len(records)
        assert list(reader) == records
        assert reader[5] == records[5]
        assert list(reader.slice(1, 50, 7)) == records[1:50:7]
        assert reader.read(range(3, 6)) == records[3:6]
        with pytest.raises(IndexError):
            reader[len(records)]
    shards = []
    for rank in range(3):
        with LmdbReader(built) as reader:
            shards += list(reader.slice(rank, len(reader), 3))
    assert sorted(shards, key=lambda r: (r.label, r.image)) == sorted(records, key=lambda r: (r.label, r.image))


def test_manifest(built: Path, records: list[Record]) -> None:
    manifest = verify(built)
    assert manifest.count == len(records)
    assert manifest.classes == {str(label): LABELS.count(label) for label in sorted(set(LABELS))}
    with built.open("rb+") as file:
        file.seek(built.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(DataError, match="changed or damaged"):
        verify(built)
    manifest_path(built).write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(built)


@pytest.mark.skipif(not SHARED_LMDB.exists(), reason="the file built by the original tool is not here")
def test_same_content_as_the_original_tools_file(tmp_path: Path) -> None:
    ours = tmp_path / "ours.lmdb"
    with LmdbReader(SHARED_LMDB) as reader, LmdbWriter(ours) as writer:
        assert len(reader) == 400
        for record in reader:
            writer.put(record)

    def content(path: Path) -> list[tuple[bytes, bytes]]:
        environment = lmdb.open(str(path), subdir=False, readonly=True, lock=False)
        with environment.begin() as transaction:
            pairs = [(bytes(key), bytes(value)) for key, value in transaction.cursor()]
        environment.close()
        return pairs

    assert content(ours) == content(SHARED_LMDB)


READ_WITH_TENSORPACK = """
import collections, collections.abc, sys
for name in ("Mapping", "MutableMapping", "Sequence", "Iterable"):  # gone from collections since Python 3.10
    setattr(collections, name, getattr(collections.abc, name))
from tensorpack.dataflow import LMDBSerializer
flow = LMDBSerializer.load(sys.argv[1], shuffle=False)
flow.reset_state()
import hashlib
digest = hashlib.sha256()
labels = []
for image, label in flow:
    assert str(image.dtype) == "uint8" and image.ndim == 1 and type(label) is int
    digest.update(image.tobytes())
    labels.append(label)
print(digest.hexdigest(), *labels)
"""


def test_tensorpacks_own_reader_reads_ours(built: Path, records: list[Record]) -> None:
    """The real package, 0.9.8, which needs the numpy and msgpack of its own folder alone."""
    folder = installed("tensorpack", ["tensorpack==0.9.8", "lmdb"])
    done = subprocess.run(
        # Without site: the packages of this environment are not seen.
        [sys.executable, "-S", "-c", READ_WITH_TENSORPACK, str(built)],
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    digest, *labels = done.stdout.splitlines()[-1].split()
    assert [int(label) for label in labels] == LABELS
    assert digest == hashlib.sha256(b"".join(record.image for record in records)).hexdigest()


def test_several_readers_of_one_file(built: Path, records: list[Record], tmp_path: Path) -> None:
    link = tmp_path / "link.lmdb"
    link.symlink_to(built)
    with LmdbReader(built) as first:
        with LmdbReader(built) as second, LmdbReader(link) as third:
            assert first[0] == second[0] == third[0] == records[0]
        assert first[1] == records[1], "closing the other readers leaves the file open"
        first.close()
        first.close()
    with LmdbReader(built) as again:
        assert again[2] == records[2]


def test_folder_environment(tmp_path: Path, records: list[Record]) -> None:
    values = {b"%08d" % i: encode_record(record) for i, record in enumerate(records[:5])}
    folder = raw_lmdb(tmp_path / "folder", {**values, b"__keys__": keys_of(5)}, subdir=True)
    with LmdbReader(folder) as reader:
        assert list(reader) == records[:5]


def test_keys_that_are_not_sequential(tmp_path: Path, records: list[Record]) -> None:
    values = {b"key-%d" % i: encode_record(record) for i, record in enumerate(records[:3])}
    order = msgpack.packb([b"key-2", b"key-0", b"key-1"])
    assert order
    with LmdbReader(raw_lmdb(tmp_path / "f", {**values, b"__keys__": order})) as reader:
        assert list(reader) == [records[2], records[0], records[1]]


def test_text_keys_of_older_writers(tmp_path: Path, records: list[Record]) -> None:
    values = {b"%08d" % i: encode_record(record) for i, record in enumerate(records[:3])}
    text = msgpack.packb([f"{i:08d}" for i in range(3)])
    assert text
    with LmdbReader(raw_lmdb(tmp_path / "f", {**values, b"__keys__": text})) as reader:
        assert list(reader) == records[:3]


def record_values(records: list[Record], count: int = 3) -> dict[bytes, bytes]:
    return {b"%08d" % i: encode_record(record) for i, record in enumerate(records[:count])}


def test_unusable_files_are_refused_before_the_first_batch(tmp_path: Path, records: list[Record]) -> None:
    values = record_values(records)
    wrong_label = encode_record(Record(records[0].image, 1000))
    nothing = msgpack.packb({"a": 1})
    assert nothing
    cases = {
        "unfinished": raw_lmdb(tmp_path / "unfinished", values),
        "another kind": raw_lmdb(tmp_path / "foreign", {b"hello": b"world"}),
        "list of keys of": raw_lmdb(tmp_path / "keys", {**values, b"__keys__": b"\xc1"}),
        "expected a list": raw_lmdb(tmp_path / "keys2", {**values, b"__keys__": nothing}),
        "lists 9 keys but holds 3": raw_lmdb(tmp_path / "keys3", {**values, b"__keys__": keys_of(9)}),
        "not a file of labelled": raw_lmdb(tmp_path / "pickle", {b"00000000": b"\x80\x04.", b"__keys__": keys_of(1)}),
        "label 1000": raw_lmdb(tmp_path / "labels", {**values, b"00000001": wrong_label, b"__keys__": keys_of(3)}),
        "holds no image": raw_lmdb(tmp_path / "none", {b"__keys__": keys_of(0)}),
    }
    (tmp_path / "garbage").write_bytes(os.urandom(100_000))
    (tmp_path / "empty").touch()
    cases |= {
        "garbage is not an LMDB": tmp_path / "garbage",
        "empty is not an LMDB": tmp_path / "empty",
    }
    for sentence, path in cases.items():
        with pytest.raises(DataError, match=sentence):
            LmdbReader(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("nothing", "folder"):
        with pytest.raises(UsageError, match=f"no LMDB file {name}"):
            LmdbReader(tmp_path / name)
        with pytest.raises(UsageError, match=f"no LMDB file {name}"):
            IsolatedReader(tmp_path / name)


def test_truncated_at_every_page(tmp_path: Path, built: Path) -> None:
    """Reading past the end would kill this process; a file of any shorter length is refused."""
    data = built.read_bytes()
    cut = tmp_path / "cut"
    lengths = [*range(0, len(data), 4096 * 40), len(data) // 2 + 77, len(data) - 1, 100, 5000]
    for length in lengths:
        cut.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut off|not an LMDB|cannot be opened"):
            LmdbReader(cut)


def test_damaged_record_is_named(tmp_path: Path, records: list[Record]) -> None:
    values = {**record_values(records), b"00000002": b"\x93\x01\x02\x03", b"__keys__": keys_of(3)}
    with LmdbReader(raw_lmdb(tmp_path / "f", values)) as reader:
        assert [type(o) for o in reader.read_each(range(3))] == [Record, Record, RecordError]
        with pytest.raises(RecordError, match="record 2 of f"):
            reader.read(range(3))


def test_a_failed_overwrite_leaves_the_old_file(built: Path, records: list[Record]) -> None:
    before = built.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        LmdbWriter(built)
    writer = LmdbWriter(built, overwrite=True)
    writer.__enter__()
    writer.put(records[0])
    writer.__exit__(RuntimeError, RuntimeError(), None)
    assert built.read_bytes() == before
    with pytest.raises(DataError, match="No image"), LmdbWriter(built, overwrite=True):
        pass
    assert built.read_bytes() == before
    with LmdbWriter(built, overwrite=True) as writer:
        writer.put(records[0])
    with LmdbReader(built) as reader:
        assert list(reader) == records[:1]
    assert verify(built).count == 1
    assert sorted(p.name for p in built.parent.iterdir()) == ["built.lmdb", "built.lmdb.manifest.json"]


@pytest.mark.parametrize("new", [True, False])
def test_a_rename_that_fails_leaves_the_old_manifest(
    new: bool, built: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = built.with_name("new.lmdb") if new else built
    replace = os.replace

    def fail(source: str | Path, to: str | Path) -> None:
        if Path(to) == target:
            raise PermissionError(errno.EACCES, "Permission denied")
        replace(source, to)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(NotWritten, match="Nothing was left behind"), LmdbWriter(target, overwrite=True) as writer:
        writer.put(records[0])
    assert sorted(p.name for p in built.parent.iterdir()) == ["built.lmdb", "built.lmdb.manifest.json"]
    assert verify(built).count == len(records)


def test_same_images_same_file(tmp_path: Path, built: Path, records: list[Record]) -> None:
    """No stray memory of the process ends up in the file."""
    again = tmp_path / "again.lmdb"
    with LmdbWriter(again) as writer:
        for record in records:
            writer.put(record)
    assert read_manifest(again).sha256 == read_manifest(built).sha256


def test_the_file_is_named_as_typed(tmp_path: Path, records: list[Record]) -> None:
    for name in ("val", "val.mdb", "val.lmdb"):
        with LmdbWriter(tmp_path / name) as writer:
            writer.put(records[0])
        assert (tmp_path / name).is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are text")
def test_names_that_are_not_utf8(tmp_path: Path, records: list[Record]) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.lmdb")
    assert build_lmdb(path, records).exists()
    assert verify(path).file == "caf\\udce9.lmdb"
    with IsolatedReader(path) as reader:
        assert len(reader) == len(records)


def test_map_grows(tmp_path: Path) -> None:
    """More than the 256 MiB that LMDB is given at first."""
    image = os.urandom(10_000_000)
    with LmdbWriter(tmp_path / "large") as writer:
        for i in range(30):
            writer.put(Record(image, i))
    assert (tmp_path / "large").stat().st_size > 1 << 28
    with LmdbReader(tmp_path / "large") as reader:
        assert [record.label for record in reader] == list(range(30))


BUILD = """
import sys, time
from pathlib import Path
from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.data.lmdb.writer import LmdbWriter
import os
with LmdbWriter(Path(sys.argv[1]), overwrite=True) as writer:
    print("building", flush=True)
    for i in range(1500):
        writer.put(Record(os.urandom(60_000), i % 1000))
print("finished", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_any_moment_leaves_the_file_or_none(tmp_path: Path) -> None:
    path = tmp_path / "file.lmdb"
    outcomes = set()
    for wait in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6):
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        assert process.stdout.readline() == "building\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        outcomes.add(path.exists())
        if path.exists():
            with LmdbReader(path) as reader:
                assert len(reader) == 1500
            path.unlink()
    subprocess.run([sys.executable, "-c", BUILD, str(path)], cwd=ROOT, check=True, capture_output=True)
    assert verify(path).count == 1500
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.lmdb", "file.lmdb.manifest.json"]
    assert False in outcomes, "at least one build was killed before its end"


def test_a_name_that_is_too_long_is_refused_before_the_build(tmp_path: Path, records: list[Record]) -> None:
    longest = tmp_path / ("n" * 226)
    assert build_lmdb(longest, records).exists()
    assert verify(longest).count == len(records)
    with pytest.raises(UsageError, match="is too long for the files of a build; choose a shorter one"):
        LmdbWriter(tmp_path / ("n" * 227))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: bytes, **_: object) -> None:
        Path(os.fsdecode(path)).write_bytes(b"begun")
        raise lmdb.DiskError("no space")

    monkeypatch.setattr(lmdb, "open", fail)
    with pytest.raises(NotWritten), LmdbWriter(tmp_path / "file.lmdb"):
        pass
    assert list(tmp_path.iterdir()) == []


REPLACE = """
import os, signal, sys
from pathlib import Path
from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.data.lmdb.writer import LmdbWriter
replace, renames = os.replace, []
def until_killed(source, target):
    if Path(target).parent == Path(sys.argv[1]).parent and ".tmp" not in str(source):
        renames.append(target)
        if len(renames) > int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = until_killed
with LmdbWriter(Path(sys.argv[1]), overwrite=True) as writer:
    writer.put(Record(b"new", 1))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("renames", [0, 1])
def test_killed_while_it_replaces_leaves_no_wrong_manifest(renames: int, built: Path, records: list[Record]) -> None:
    killed = subprocess.run([sys.executable, "-c", REPLACE, str(built), str(renames)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    with LmdbReader(built) as reader:
        assert len(reader) == (1 if renames else len(records))
    with pytest.raises(DataError, match="manifest"):
        verify(built)
    assert not manifest_path(built).exists()
    with LmdbWriter(built, overwrite=True) as writer:
        writer.put(records[0])
    assert verify(built).count == 1
    assert sorted(p.name for p in built.parent.iterdir()) == ["built.lmdb", "built.lmdb.manifest.json"]


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Reading keeps no records and, with sequential keys, no list of keys."""
    import tracemalloc

    path = tmp_path / "many"
    with LmdbWriter(path) as writer:
        for i in range(60_000):
            writer.put(Record(b"\xff\xd8", i % 1000))
    tracemalloc.start()
    with LmdbReader(path) as reader:
        for _ in reader:
            pass
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
