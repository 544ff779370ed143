"""What visitors may start: names on offer and their own uploads, never a path."""

from __future__ import annotations

import dataclasses
import time
import zipfile
from pathlib import Path

import pytest

from lowrank_demo.errors import UnknownModel, UsageError
from lowrank_demo.serve.jobs import JobStatus
from lowrank_demo.serve.service import Photo, Service
from lowrank_demo.serve.validations import SAMPLE, ValidationDesk
from lowrank_demo.settings import Settings
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.photos import photo_path

PREVIEW = "preview/scheme_2/v5"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "lmdb"
    folder.mkdir()
    build_long_lmdb(folder / "long.lmdb", 1200)
    return folder


@pytest.fixture
def desk(settings: Settings, folder: Path) -> ValidationDesk:
    sample = [(photo_path("lion.jpg"), 291), (photo_path("cheetah.jpg"), 293)]
    return ValidationDesk(Service(dataclasses.replace(settings, lmdb_dir=folder)), sample)


def finished(desk: ValidationDesk, job: str) -> JobStatus:
    deadline = time.monotonic() + 60
    while not (status := desk.status(job)).finished:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return status


def test_sample_is_usable_at_once(settings: Settings) -> None:
    desk = ValidationDesk(Service(settings), [(photo_path("lion.jpg"), 291)])
    assert desk.files() == [SAMPLE]
    status = finished(desk, desk.start(SAMPLE, [PREVIEW]))
    assert status.state == "done"
    assert status.report is not None
    assert (status.report.count, status.report.models[0].top5_error) == (1, 0.0)


def test_only_names_on_offer(desk: ValidationDesk, folder: Path, tmp_path: Path) -> None:
    (folder / ".hidden.lmdb").touch()
    (folder / "note.txt").touch()
    (tmp_path / "outside.lmdb").touch()
    assert desk.files() == ["long.lmdb", SAMPLE]
    for name in ("../outside.lmdb", str(folder / "long.lmdb"), ".hidden.lmdb", "note.txt", "", "x" * 500):
        with pytest.raises(UsageError, match=r"expected one of: long\.lmdb"):
            desk.start(name, [PREVIEW])
    with pytest.raises(UnknownModel):
        desk.start("long.lmdb", ["no/such"])
    with pytest.raises(UsageError, match="No model"):
        desk.start("long.lmdb", [])


def test_cancel_keeps_what_was_measured(desk: ValidationDesk) -> None:
    job = desk.start("long.lmdb", [PREVIEW])
    while not desk.status(job).results:
        time.sleep(0.01)
    running = desk.status(job)
    assert running.state == "running"
    assert running.progress is not None
    assert running.progress.total == 1200
    desk.cancel(job)
    status = finished(desk, job)
    assert status.state == "cancelled"
    assert status.report is not None
    assert 0 < status.report.count < 1200


def test_classifying_stays_responsive_meanwhile(desk: ValidationDesk) -> None:
    service = desk._service
    photo = Photo("lion.jpg", photo_path("lion.jpg").read_bytes)
    service.classify([photo], PREVIEW)
    job = desk.start("long.lmdb", [PREVIEW])
    while not desk.status(job).results:
        time.sleep(0.01)
    waits = []
    for _ in range(5):
        began = time.monotonic()
        service.classify([photo], PREVIEW)
        waits.append(time.monotonic() - began)
    assert desk.status(job).state == "running"
    desk.cancel(job)
    assert sorted(waits)[2] < 1


def test_upload(desk: ValidationDesk, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lion/1.jpg", photo_path("lion.jpg").read_bytes())
        archive.writestr("lion/2.jpg", b"no photo")
    upload = desk.upload(path)
    assert (upload.count, len(upload.refused)) == (1, 1)
    assert upload.token not in desk.files(), "others do not see it"
    status = finished(desk, desk.start(upload.token, [PREVIEW]))
    assert (status.state, status.title) == ("done", "your photos")
    assert status.report is not None


def test_a_damaged_file_fails_with_its_sentence(desk: ValidationDesk, folder: Path) -> None:
    data = (folder / "long.lmdb").read_bytes()
    (folder / "cut.lmdb").write_bytes(data[: len(data) // 2])
    status = finished(desk, desk.start("cut.lmdb", [PREVIEW]))
    assert status.state == "failed"
    assert "cut.lmdb is cut off" in status.error
