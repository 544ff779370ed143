"""The labelled files on offer, and the visitors' sets that are kept."""

from __future__ import annotations

import dataclasses
import errno
import os
import random
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from lowrank_demo.data.samples import Samples
from lowrank_demo.errors import Busy, DataError, UsageError
from lowrank_demo.runtime.progress import Progress
from lowrank_demo.serve.set_build import SetBuild
from lowrank_demo.serve.uploads import SAMPLE, LabelledFiles, Upload
from lowrank_demo.settings import Settings
from tests.helpers.photos import encoded, photo_path
from tests.helpers.slack import SLACK
from tests.helpers.zips import uploaded, zipped

PHOTO = photo_path("lion.jpg").read_bytes()
PHOTOS = {f"lion/{i}.jpg": PHOTO for i in range(30)}
Building = Generator[Progress | Upload, None, None]


@pytest.mark.parametrize(("code", "sentence"), [(errno.ENOSPC, "its disk is full"), (errno.EACCES, "its log says why")])
def test_disk_full_is_said_for_a_full_disk_alone(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, code: int, sentence: str
) -> None:
    """The real full disk is in tests/faults; root, as whom tests may run, may write everywhere."""

    def fails(build: SetBuild, folder: Path, ends: float) -> Samples:
        raise OSError(code, os.strerror(code))

    path = zipped(tmp_path / "set.zip", {"lion/1.jpg": PHOTO})
    monkeypatch.setattr(SetBuild, "_unpacked", fails)
    with pytest.raises(Busy, match=f"The server could not store the set.*{sentence}"):
        uploaded(LabelledFiles(settings, [], tmp_path / "sets"), path)


def test_only_files_are_on_offer(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "lmdb"
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "data.mdb").touch()
    (folder / "good.lmdb").touch()
    os.mkfifo(folder / "pipe.lmdb")
    (folder / "pipes").mkdir()
    os.mkfifo(folder / "pipes" / "data.mdb")
    Path(os.fsdecode(bytes(folder) + b"/\xff.lmdb")).touch()
    files = LabelledFiles(dataclasses.replace(settings, lmdb_dir=folder), [], tmp_path / "sets")
    assert [name for name in files.names() if name != SAMPLE] == ["folder", "good.lmdb"]


def children() -> set[str]:
    """Ids of the processes that this one has started and that are there; some may be of earlier tests."""
    found: set[str] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            if path.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(path.parent.name)
    return found


def begun(files: LabelledFiles, path: Path, unpacked: bool) -> tuple[Building, Progress]:
    """A build that unpacks, or that has unpacked, its zip, and its latest step."""
    building = files.building(zipped(path, PHOTOS if unpacked else PHOTOS | bomb()))
    step = next(building)
    while unpacked and isinstance(step, Progress) and not step.total:
        step = next(building)
    assert isinstance(step, Progress)
    return building, step


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_build_can_be_cancelled_and_leaves_nothing(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, unpacked: bool
) -> None:
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    files = LabelledFiles(settings, [], tmp_path / "sets")
    before = children()
    building, step = begun(files, tmp_path / "set.zip", unpacked)
    assert bool(step.total) == unpacked
    assert list((tmp_path / "sets").iterdir())
    began = time.monotonic()
    building.close()
    assert time.monotonic() - began < 5 * SLACK
    assert not list((tmp_path / "sets").iterdir())
    assert not list(elsewhere.iterdir()), "the next run finds what a killed one left in the folder of sets alone"
    assert not children() - before
    assert files.kept_bytes() == 0


@pytest.mark.parametrize("unpacked", [False, True])
def test_builds_end_before_their_folder_goes(tmp_path: Path, settings: Settings, unpacked: bool) -> None:
    files = LabelledFiles(settings, [], tmp_path / "sets")
    before = children()
    building, _ = begun(files, tmp_path / "set.zip", unpacked)
    deadline = time.monotonic() + 10
    while not children() - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    files.end()
    assert not children() - before
    with suppress(DataError):  # what was read before is kept
        assert len(list(building)) > 1
    assert [path for path in (tmp_path / "sets").iterdir() if path.is_dir()] == []
    with pytest.raises(Busy, match="being stopped"):
        uploaded(files, zipped(tmp_path / "set.zip", PHOTOS))


def test_sets_share_the_room_of_uploads_and_none_makes_room_for_another(tmp_path: Path, settings: Settings) -> None:
    files = LabelledFiles(dataclasses.replace(settings, max_uploads_mb=1), [], tmp_path / "sets")
    path = zipped(tmp_path / "set.zip", {f"lion/{i}.png": noise(i) for i in range(8)})
    tokens = [uploaded(files, path).token]
    assert 0 < files.kept_bytes() < 10_000_000
    while files.kept_bytes() < 1_000_000:
        tokens.append(uploaded(files, path).token)
    with pytest.raises(Busy, match="no room for more sets now; try again"):
        uploaded(files, path)
    for token in tokens:
        assert files.find(token)[0].exists()
    # One that is cancelled ends a moment later.
    timers = [one for one in threading.enumerate() if isinstance(one, threading.Timer) and not one.finished.is_set()]
    assert not timers, "one thread sweeps for all"


def test_sets_are_deleted_when_they_were_kept_long_enough(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LabelledFiles(settings, [], tmp_path / "sets")
    token = uploaded(files, zipped(tmp_path / "set.zip", {"lion/1.jpg": PHOTO})).token
    kept, _ = files.find(token)
    files.sweep()
    assert kept.exists()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * 3600 + 1)
    files.sweep()
    assert not list(kept.parent.iterdir())
    assert files.kept_bytes() == 0
    with pytest.raises(UsageError, match="There is no file"):
        files.find(token)


def noise(seed: int) -> bytes:
    return encoded(Image.frombytes("RGB", (256, 256), random.Random(seed).randbytes(256 * 256 * 3)), "PNG")


def bomb() -> dict[str, bytes]:
    """Photos that take a second to unpack."""
    return {f"lion/bomb{i}.jpg": bytes(24_000_000) for i in range(6)}
