"""Validations that visitors start: names on offer and own uploads, never a path; one at a time, in order."""

from __future__ import annotations

import dataclasses
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowrank_demo.errors import Busy, UnknownJob, UsageError, WeightsError
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.service import Service
from lowrank_demo.serve.uploads import SAMPLE, LabelledFiles
from lowrank_demo.serve.validations import MAX_WAITING, Validations, ValidationStatus
from lowrank_demo.settings import Settings
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.photos import photo_path
from tests.helpers.zips import uploaded

V5 = "bundled/scheme_2/v5"


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lmdb") / "long.lmdb"
    build_long_lmdb(path, 1200)
    return path


@pytest.fixture
def folder(tmp_path: Path, long_file: Path) -> Path:
    folder = tmp_path / "lmdb"
    folder.mkdir()
    (folder / "long.lmdb").symlink_to(long_file)
    return folder


@pytest.fixture
def service(settings: Settings, folder: Path) -> Service:
    return Service(dataclasses.replace(settings, lmdb_dir=folder))


@pytest.fixture
def card(service: Service) -> ModelCard:
    return service.zoo.get(V5)


@pytest.fixture
def files(service: Service, tmp_path: Path) -> LabelledFiles:
    sample = [(photo_path("lion.jpg"), 291), (photo_path("cheetah.jpg"), 293)]
    return LabelledFiles(service.settings, sample, tmp_path / "sets")


@pytest.fixture
def validations(service: Service, files: LabelledFiles) -> Validations:
    return Validations(service, files)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finished(validations: Validations, job: str) -> ValidationStatus:
    until(lambda: validations.status(job).finished)
    return validations.status(job)


class Gate:
    """Holds a service's validations back until it opens, and notes which began."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[Path] = []
        self._opened = threading.Event()
        inner = service.open_validation

        def wait(file: Path, *args: Any, **options: Any) -> Any:
            self.begun.append(file)
            assert self._opened.wait(60)
            return inner(file, *args, **options)

        monkeypatch.setattr(service, "open_validation", wait)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(service: Service, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(service, monkeypatch)


def test_one_at_a_time_in_order(validations: Validations, card: ModelCard, gate: Gate) -> None:
    ids = [validations.start(SAMPLE, [card]) for _ in range(3)]
    until(lambda: validations.status(ids[0]).state == "running")
    assert [validations.status(i).state for i in ids] == ["running", "waiting", "waiting"]
    assert [validations.status(i).place for i in ids] == [0, 1, 2]
    until(lambda: len(gate.begun) == 1)
    validations.cancel(ids[1])
    assert validations.status(ids[1]).state == "cancelled"
    assert validations.status(ids[2]).place == 1
    gate.open()
    assert finished(validations, ids[2]).state == "done"
    assert len(gate.begun) == 2, "the cancelled one never started"
    first = validations.status(ids[0])
    assert first.state == "done"
    assert first.report is not None
    assert validations.reports(["guess", *ids]) == [first.report, validations.status(ids[2]).report]


def test_too_many(validations: Validations, card: ModelCard, gate: Gate) -> None:
    first = validations.start(SAMPLE, [card])
    until(lambda: validations.status(first).state == "running")
    for _ in range(MAX_WAITING):
        validations.start(SAMPLE, [card])
    with pytest.raises(Busy, match="try again"):
        validations.start(SAMPLE, [card])
    gate.open()


def test_failures_leave_the_others(
    service: Service, validations: Validations, card: ModelCard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (folder / "long.lmdb").read_bytes()
    (folder / "cut.lmdb").write_bytes(data[: len(data) // 2])
    status = finished(validations, validations.start("cut.lmdb", [card]))
    assert status.state == "failed"
    assert "cut.lmdb is cut off" in status.error

    def crash(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError("/secret/path")

    with monkeypatch.context() as patch:
        patch.setattr(service, "open_validation", crash)
        status = finished(validations, validations.start(SAMPLE, [card]))
    assert status.state == "failed"
    assert "secret" not in status.error
    assert finished(validations, validations.start(SAMPLE, [card])).state == "done"


def test_ids_are_secrets(validations: Validations, card: ModelCard, gate: Gate) -> None:
    for call in (validations.status, validations.cancel):
        with pytest.raises(UnknownJob):
            call("guess")
    ids = {validations.start(SAMPLE, [card]) for _ in range(5)}
    assert len(ids) == 5
    assert min(map(len, ids)) >= 20
    gate.open()


def test_sample_is_usable_at_once(settings: Settings, tmp_path: Path) -> None:
    service = Service(settings)
    files = LabelledFiles(settings, [(photo_path("lion.jpg"), 291)], tmp_path / "sets")
    validations = Validations(service, files)
    assert files.names() == [SAMPLE]
    status = finished(validations, validations.start(SAMPLE, [service.zoo.get(V5)]))
    assert status.state == "done"
    assert status.report is not None
    assert (status.report.count, status.report.models[0].top5_error) == (1, 0.0)


def test_only_names_on_offer(
    validations: Validations, files: LabelledFiles, card: ModelCard, folder: Path, tmp_path: Path
) -> None:
    (folder / ".hidden.lmdb").touch()
    (folder / "note.txt").touch()
    (tmp_path / "outside.lmdb").touch()
    assert files.names() == ["long.lmdb", SAMPLE]
    for name in ("../outside.lmdb", str(folder / "long.lmdb"), ".hidden.lmdb", "note.txt", "", "x" * 500):
        with pytest.raises(UsageError, match=r'^There is no file "[^\']*; expected one of: long\.lmdb'):
            validations.start(name, [card])
    with pytest.raises(UsageError, match="No model"):
        validations.start("long.lmdb", [])


def test_cancel_keeps_what_was_measured(validations: Validations, card: ModelCard) -> None:
    job = validations.start("long.lmdb", [card])
    until(lambda: bool(validations.status(job).results))
    running = validations.status(job)
    assert running.state == "running"
    assert running.progress is not None
    assert running.progress.total == 1200
    validations.cancel(job)
    status = finished(validations, job)
    assert status.state == "cancelled"
    assert status.report is not None
    assert 0 < status.report.count < 1200


def test_classifying_stays_responsive_meanwhile(validations: Validations, service: Service, card: ModelCard) -> None:
    photo = Photo.from_file(photo_path("lion.jpg"))
    service.classify([photo], card)
    job = validations.start("long.lmdb", [card])
    until(lambda: bool(validations.status(job).results))
    waits = []
    for _ in range(5):
        began = time.monotonic()
        service.classify([photo], card)
        waits.append(time.monotonic() - began)
    assert validations.status(job).state == "running"
    validations.cancel(job)
    assert sorted(waits)[2] < 1


def test_upload(validations: Validations, files: LabelledFiles, card: ModelCard, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lion/1.jpg", photo_path("lion.jpg").read_bytes())
        archive.writestr("lion/2.jpg", b"no photo")
    upload = uploaded(files, path)
    assert (upload.count, len(upload.refused)) == (1, 1)
    assert upload.token not in files.names(), "others do not see it"
    status = finished(validations, validations.start(upload.token, [card]))
    assert (status.state, status.title) == ("done", "set.zip")
    assert status.report is not None
    assert status.report.file == "set 1.lmdb", "what the report is called"


def test_reports_stay_and_newcomers_wait(
    validations: Validations, card: ModelCard, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.open()
    first = validations.start(SAMPLE, [card])
    assert finished(validations, first).report
    monkeypatch.setattr("lowrank_demo.serve.validations._REPORTS", 2)
    monkeypatch.setattr("lowrank_demo.serve.validations._WITHOUT_REPORT", 3)
    blocker = validations.start("long.lmdb", [card])
    cancelled: list[str] = []
    for _ in range(70):
        cancelled.append(validations.start(SAMPLE, [card]))
        validations.cancel(cancelled[-1])
    assert validations.status(first).report, "whoever starts and cancels takes nobody's report"
    with pytest.raises(UnknownJob):
        validations.status(cancelled[0])
    assert validations.gave_out(cancelled[0])
    until(lambda: bool(validations.status(blocker).results))
    validations.cancel(blocker)
    assert finished(validations, blocker).report
    with pytest.raises(Busy, match="try again"):
        validations.start(SAMPLE, [card])
    monkeypatch.setattr("lowrank_demo.serve.validations.CANCELLED_KEPT_SECONDS", 0)
    last = validations.start(SAMPLE, [card])
    with pytest.raises(UnknownJob, match="cancelled more than"):
        validations.status(blocker)
    assert validations.status(first).report, "the part that a cancelled validation measured is kept for less long"
    assert finished(validations, last).report
    with pytest.raises(Busy, match="try again"):
        validations.start(SAMPLE, [card])
    monkeypatch.setattr("lowrank_demo.serve.validations.KEPT_SECONDS", 0)
    validations.start(SAMPLE, [card])
    with pytest.raises(UnknownJob, match="ended more than"):
        validations.status(first)


def test_cancelling_ends_the_loading(
    service: Service, validations: Validations, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    inner = service.networks.for_pass

    def load(one: ModelCard, *args: Any) -> Any:
        loaded.append(one.id)
        validations.cancel(job)
        return inner(one, *args)

    monkeypatch.setattr(service.networks, "for_pass", load)
    with validations._changed:  # so that the id is known before the loading begins
        job = validations.start(SAMPLE, [card, service.zoo.get("bundled/scheme_1/v4")])
    status = finished(validations, job)
    assert (status.state, loaded) == ("cancelled", [card.id])


def test_too_many_models(validations: Validations, card: ModelCard) -> None:
    cuts = [card.truncated([rank, *card.ranks[1:]]) for rank in range(card.ranks[0])]
    more = [card.truncated([*card.ranks[:7], rank]) for rank in range(6)]
    with pytest.raises(UsageError, match="13 models were chosen; expected at most 12"):
        validations.start(SAMPLE, [*cuts, *more])


def test_a_model_that_cannot_be_loaded_is_left_out(
    service: Service, validations: Validations, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = service.zoo.get("bundled/scheme_1/v4"), card.truncated([*card.ranks[:7], 9])
    inner = service.networks.for_pass

    def load(one: ModelCard, *args: Any) -> Any:
        if one == broken:
            raise WeightsError("The weights are damaged.")
        return inner(one, *args)

    monkeypatch.setattr(service.networks, "for_pass", load)
    status = finished(validations, validations.start(SAMPLE, [card, broken, other]))
    listed = ((broken.id, "The weights are damaged."),)
    assert (status.state, status.left_out) == ("done", listed)
    assert status.report is not None
    assert status.report.left_out == listed
    assert [result.card.id for result in status.report.models] == [card.id, other.id]
    assert [result.count for result in status.report.models] == [2, 2], "the others are measured on every photo"
    last = finished(validations, validations.start(SAMPLE, [card, broken]))
    assert (last.state, last.left_out) == ("done", listed), "also where it is the last"
    failed = finished(validations, validations.start(SAMPLE, [broken]))
    assert (failed.state, failed.error) == ("failed", "The weights are damaged.")
