"""Zips of visitors: what is built, what is listed, what is refused, and what it may cost."""

from __future__ import annotations

import io
import os
import re
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.errors import DataError, LowRankError, UsageError
from lowrank_demo.serve.set_build import SetBuild
from tests.faults.hostile import hostile_files, png, scans
from tests.helpers.photos import encoded, open_photo, photo_path
from tests.helpers.zips import zipped

PHOTO = photo_path("lion.jpg").read_bytes()


def build(path: Path, **limits: Any) -> SetBuild:
    built = SetBuild(
        path, path.parent / "out.lmdb", **{"max_file_mb": 5, "max_zip_mb": 5, "max_pixels": 64_000_000, **limits}
    )
    for _ in built:
        pass
    return built


def records(path: Path) -> list[Record]:
    with LmdbReader(path / "out.lmdb") as reader:
        return list(reader)


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
    with LmdbReader(tmp_path / "out.lmdb") as reader:
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
        "It is encrypted": (encrypted, DataError),
        "holds no photo": (zipped(tmp_path / "a.zip", {"lion/x.txt": b""}).read_bytes(), UsageError),
        'No photo in the zip can be used.* unicorn: "unicorn" names none of the 1000 classes': (
            zipped(tmp_path / "b.zip", {"unicorn/1.jpg": PHOTO}).read_bytes(),
            DataError,
        ),
        "It is not in a class folder": (zipped(tmp_path / "c.zip", {"1.jpg": PHOTO}).read_bytes(), DataError),
        "numbered from 1; name the folders": (
            zipped(tmp_path / "n.zip", {"1/1.jpg": PHOTO, "1000/1.jpg": PHOTO}).read_bytes(),
            UsageError,
        ),
        "lion/1.jpg: It is larger than 5 MB": (
            zipped(tmp_path / "d.zip", {"lion/1.jpg": b"\0" * 6_000_000}).read_bytes(),
            DataError,
        ),
        "unpacks to more": (bomb.getvalue(), UsageError),
        "expected at most 5": (os.urandom(6_000_000), UsageError),
    }
    for sentence, (data, kind) in cases.items():
        path = tmp_path / "case.zip"
        path.write_bytes(data)
        with pytest.raises(kind, match=sentence.strip()):
            build(path)
        assert not (tmp_path / "out.lmdb").exists()


def test_unknown_folders_are_listed_and_the_rest_is_built(tmp_path: Path) -> None:
    names = ("lion", "English springer", "n02085620-Chihuahua", "unicorn", "crane", "n00004475")
    built = build(zipped(tmp_path / "set.zip", {f"{name}/1.jpg": PHOTO for name in names} | {"unicorn/2.jpg": PHOTO}))
    said = {item.path.as_posix(): (item.images, item.reason) for item in built.refused}
    assert built.count == 3
    assert {name: images for name, (images, _) in said.items()} == {"unicorn": 2, "crane": 1, "n00004475": 1}
    assert "134 (n02012849" in said["crane"][1]
    assert "517 (n03126707" in said["crane"][1]
    assert "python -m lowrank_demo classes" in said["unicorn"][1]
    with LmdbReader(tmp_path / "out.lmdb") as reader:
        assert sorted(record.label for record in reader) == [151, 217, 291]


def test_files_named_as_imagenets_need_no_folder(tmp_path: Path) -> None:
    names = ("ILSVRC2012_val_00000293_n02129165.JPEG", "ILSVRC2012_val_00001359.jpg", "n01440764_18.JPEG")
    without = ("other.jpg", "n00004475_1.JPEG")
    built = build(zipped(tmp_path / "set.zip", dict.fromkeys((*names, *without), PHOTO)))
    assert [item.reason[:26] for item in built.refused] == ["It is not in a class folde", "n00004475 is not one of th"]
    with LmdbReader(tmp_path / "out.lmdb") as reader:
        assert sorted(record.label for record in reader) == [0, 291, 291]


def test_the_class_at_any_level_and_hidden_folders(tmp_path: Path) -> None:
    files = ("lion/morning/1.jpg", "set/train/lion/a/b/2.jpg", "3/lion/3.jpg", "lion\\4.jpg")
    hidden = ("lion/.ipynb_checkpoints/1.jpg", "lion/@eaDir/2.jpg")
    built = build(zipped(tmp_path / "set.zip", dict.fromkeys((*files, *hidden), PHOTO)))
    assert (built.count, list(built.refused)) == (4, [])
    with LmdbReader(tmp_path / "out.lmdb") as reader:
        assert {record.label for record in reader} == {291}


def test_a_folder_1000_that_is_no_class_refuses_nothing(tmp_path: Path) -> None:
    built = build(zipped(tmp_path / "set.zip", {"lion/1000/1.jpg": PHOTO, "7/1.jpg": PHOTO}))
    assert (built.count, list(built.refused)) == (2, [])


def test_a_photo_that_is_too_large_is_listed_and_the_rest_is_built(tmp_path: Path) -> None:
    built = build(zipped(tmp_path / "set.zip", {"lion/1.jpg": bytes(5_000_001), "lion/2.jpg": PHOTO}))
    assert built.count == 1
    assert [(str(item.path), item.reason) for item in built.refused] == [
        ("lion/1.jpg", "It is larger than 5 MB; make it smaller.")
    ]


def damaged(path: Path, compression: int) -> bytes:
    """A zip of two photos, with some bytes changed inside the first."""
    data = bytearray(zipped(path, {"lion/1.jpg": PHOTO, "lion/2.jpg": PHOTO}, compression).read_bytes())
    for at in range(60, 140):
        data[at] ^= 0x5A
    return bytes(data)


def with_entry(data: bytes, at: int, value: bytes) -> bytes:
    """The zip with other bytes in the first entry of its directory."""
    at += data.index(b"PK\x01\x02")
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    "kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, "offset", "far", "method"]
)
def test_a_damaged_member_is_listed_and_the_rest_is_built(tmp_path: Path, kind: int | str) -> None:
    path = tmp_path / "set.zip"
    if isinstance(kind, int):
        data = damaged(path, kind)
    else:
        whole = zipped(path, {"lion/1.jpg": PHOTO, "lion/2.jpg": PHOTO}).read_bytes()
        changes = {"offset": (42, struct.pack("<I", 77)), "far": (42, b"\xf0\xff\xff\xff"), "method": (10, b"\x63\0")}
        data = with_entry(whole, *changes[kind])
    path.write_bytes(data)
    built = build(path)
    assert built.count == 1
    (refused,) = built.refused
    assert refused.path == Path("lion/1.jpg")
    assert re.match("It is damaged in the zip|It cannot be unpacked", refused.reason)


def test_a_zip_with_a_wrong_directory(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"lion/1.jpg": PHOTO})
    data = path.read_bytes()
    at = data.rindex(b"PK\x05\x06") + 16
    path.write_bytes(data[:at] + struct.pack("<I", 9) + data[at + 4 :])
    with pytest.raises(DataError, match="damaged in the zip"):
        build(path)


def test_when_every_photo_is_refused_the_reasons_are_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        build(zipped(tmp_path / "set.zip", {"lion/1.jpg": b"no", "lion/2.jpg": b"", "lion/3.jpg": PHOTO[:3000]}))
    for part in ("lion/1.jpg: The file is a text file", "lion/2.jpg: The file is empty", "lion/3.jpg: The JPEG is cut"):
        assert part in str(refused.value)
    assert "/tmp" not in str(refused.value)


def test_pixels_and_edges_are_limited(tmp_path: Path) -> None:
    files = {
        "lion/good.jpg": PHOTO,
        "lion/large.png": png(13_300, 13_300),
        "lion/long.png": png(1, 8000),
        "lion/costly.gif": hostile_files()["GIF of empty comments"](),
        "lion/costly.tif": hostile_files()["TIFF whose tags share bytes"](),
    }
    built = build(zipped(tmp_path / "set.zip", files))
    assert built.count == 1
    said = {item.path.name: item.reason for item in built.refused}
    assert "177 megapixels; expected at most 64" in said["large.png"]
    assert "1 x 8000 pixels; expected edges of at most 16 to 1" in said["long.png"]
    assert (
        said["costly.gif"]
        == said["costly.tif"]
        == ("It takes too much time or memory to decode; expected an ordinary photo.")
    )


def test_what_is_stored_costs_little_to_read(tmp_path: Path) -> None:
    """A photo that has the size is stored as it is, unless it is unusual."""
    photo = open_photo().resize((256, 300))
    files = {
        "lion/1.jpg": encoded(photo, "JPEG", exif=b"Exif\0\0" + bytes(60_000)),
        "lion/2.jpg": scans(256, 200),
        "lion/3.tif": encoded(photo, "TIFF"),
        "lion/4.png": png(256, 256),
    }
    assert build(zipped(tmp_path / "set.zip", files)).count == 4
    stored = [record.image for record in records(tmp_path)]
    assert stored[0] == encoded(photo, "JPEG")
    assert [image[:4] for image in stored[1:]] == [b"\x89PNG"] * 3


def test_a_zip_that_costs_much_to_open(tmp_path: Path) -> None:
    """A directory of a million entries."""
    whole = zipped(tmp_path / "set.zip", {"lion/1.jpg": b"x"}).read_bytes()
    at, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    directory = whole[at:end] * 400_000
    tail = bytearray(whole[end:])
    tail[12:16] = struct.pack("<I", len(directory))
    path = tmp_path / "large.zip"
    path.write_bytes(whole[:at] + directory + bytes(tail))
    with pytest.raises((DataError, UsageError), match=r"too much time or memory to unpack|holds 400,000 photos"):
        build(path, max_zip_mb=100)


def test_a_set_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "set.zip", {f"lion/{i}.jpg": PHOTO for i in range(30)})
    with pytest.raises(UsageError, match="took more than 0 minutes to unpack; send it in parts"):
        build(path, seconds=0.0)
    steps = iter(SetBuild(path, tmp_path / "out.lmdb", max_file_mb=5, max_zip_mb=5, max_pixels=64_000_000))
    while not next(steps).total:
        pass
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 601)
    with pytest.raises(UsageError, match="took more than 10 minutes for 2 of 30 photos; send it in parts"):
        next(steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.zip"]


def wait(data: bytes, max_pixels: int) -> bytes:
    time.sleep(60)
    return data


def test_the_time_limit_holds_while_a_child_works_on_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowrank_demo.serve.set_build.strangers_record", wait)
    path = zipped(tmp_path / "set.zip", {f"lion/{i}.jpg": PHOTO for i in range(2)})
    began = time.monotonic()
    with pytest.raises(UsageError, match="took more than 0 minutes for 1 of 2 photos"):
        build(path, seconds=5)
    assert time.monotonic() - began < 30
