"""A visitor's zip: built where it is as expected, refused in one sentence where it is not."""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
from pathlib import Path

import pytest

from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.errors import DataError, LowRankError, UsageError
from lowrank_demo.serve.uploads import SAMPLE, LabelledFiles, build_from_zip
from lowrank_demo.settings import Settings
from tests.helpers.photos import encoded, open_photo, photo_path

PHOTO = photo_path("lion.jpg").read_bytes()


def zipped(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def build(path: Path, max_file_mb: int = 5, max_zip_mb: int = 5):
    return build_from_zip(path, path.parent / "out.lmdb", max_file_mb=max_file_mb, max_zip_mb=max_zip_mb, threads=2)


def test_class_named_folders_however_deep(tmp_path: Path) -> None:
    files = {
        "set/lion/1.jpg": PHOTO,
        "set/n02130308/2.jpg": PHOTO,
        "set/0/3.png": encoded(open_photo(), "PNG"),
        "set/lion/bad.jpg": b"no photo",
        "set/readme.txt": b"left alone",
        "__MACOSX/set/lion/._1.jpg": b"x",
        "set/lion/.hidden.jpg": b"x",
    }
    built = build(zipped(tmp_path / "set.zip", files))
    assert built.count == 3
    assert len(built.refused) == 1
    assert "is a text" in built.refused[0].reason
    with LmdbReader(built.path) as reader:
        assert sorted(record.label for record in reader) == [0, 291, 293]


@pytest.mark.parametrize("name", ["../../evil/lion/1.jpg", "/etc/lion/1.jpg", "lion/../../lion/1.jpg", "lion/a\\b.jpg"])
def test_no_path_of_the_archive_is_written(tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    built = build(zipped(work / "set.zip", {name: PHOTO}))
    assert built.count == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["out.lmdb", "out.lmdb.manifest.json", "set.zip", "work"]


def test_refused(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(10):
            archive.writestr(f"lion/{i}.jpg", b"\0" * 4_900_000)
    encrypted = zipped(tmp_path / "e.zip", {"lion/1.jpg": PHOTO}).read_bytes()
    flag = encrypted.index(b"PK\x01\x02") + 8
    encrypted = encrypted[:6] + b"\x01" + encrypted[7:flag] + b"\x01" + encrypted[flag + 1 :]
    cases: dict[str, tuple[bytes, type[LowRankError]]] = {
        "not a zip": (b"hello", DataError),
        "not a zip ": (encrypted, DataError),
        "holds no photo": (zipped(tmp_path / "a.zip", {"lion/x.txt": b""}).read_bytes(), UsageError),
        "unicorn/1.jpg is not in a class": (
            zipped(tmp_path / "b.zip", {"unicorn/1.jpg": PHOTO}).read_bytes(),
            UsageError,
        ),
        "1.jpg is not in a class": (zipped(tmp_path / "c.zip", {"1.jpg": PHOTO}).read_bytes(), UsageError),
        "larger than 5 MB": (zipped(tmp_path / "d.zip", {"lion/1.jpg": b"\0" * 6_000_000}).read_bytes(), UsageError),
        "unpacks to more": (bomb.getvalue(), UsageError),
        "expected at most 5": (os.urandom(6_000_000), UsageError),
    }
    for sentence, (data, kind) in cases.items():
        path = tmp_path / "case.zip"
        path.write_bytes(data)
        with pytest.raises(kind, match=sentence.strip()):
            build(path)
        assert not (tmp_path / "out.lmdb").exists()


def test_only_files_are_on_offer(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "lmdb"
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "data.mdb").touch()
    (folder / "good.lmdb").touch()
    os.mkfifo(folder / "pipe.lmdb")
    (folder / "pipes").mkdir()
    os.mkfifo(folder / "pipes" / "data.mdb")
    Path(os.fsdecode(bytes(folder) + b"/\xff.lmdb")).touch()
    files = LabelledFiles(dataclasses.replace(settings, lmdb_dir=folder), [])
    assert [name for name in files.names() if name != SAMPLE] == ["folder", "good.lmdb"]
