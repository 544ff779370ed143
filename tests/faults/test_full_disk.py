"""A disk of 20 MB that is full, or fills up: a sentence, nothing half-written, and all is well once there is room."""

from __future__ import annotations

import json
import os
import random
import subprocess
import zipfile
from pathlib import Path

import httpx
import pytest

from lowrank_demo.errors import LowRankError
from lowrank_demo.serve.uploads import LabelledFiles
from lowrank_demo.settings import Settings
from tests.faults.client import ApiClient, Refused
from tests.helpers.app import running_app
from tests.helpers.commands import run
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.photos import photo_path
from tests.helpers.terminal import stopped_under_way
from tests.helpers.zips import uploaded

pytestmark = pytest.mark.spread

MODEL = "bundled/scheme_2/v5"


def fill(disk: Path, leave: int = 0) -> Path:
    """Write until no more fits, then give so many bytes back."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    os.truncate(filler, filler.stat().st_size - leave)
    return filler


def photos(folder: Path, count: int) -> Path:
    """Photos of 100 kB that are good to the last byte."""
    data = photo_path("lion.jpg").read_bytes() + random.Random(0).randbytes(90_000)
    for i in range(count):
        path = folder / "lion" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_build(small_disk: Path, tmp_path: Path) -> None:
    images = str(photos(tmp_path / "photos", 300))
    target = small_disk / "built.lmdb"
    done = run("build-lmdb", "--images", images, "--lmdb-file", str(target))
    assert done.returncode == 2
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(small_disk.iterdir()) == []
    done = run("build-lmdb", "--images", str(photos(tmp_path / "few", 50)), "--lmdb-file", str(target))
    assert done.returncode == 0, done.stderr


def test_resize(small_disk: Path, tmp_path: Path) -> None:
    images = photos(tmp_path / "photos", 300)
    filler = fill(small_disk, 200_000)
    done = run("resize", str(images), "--to", str(small_disk / "resized"))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr
    filler.unlink()
    assert run("resize", str(images), "--to", str(small_disk / "resized"), "--shortest-edge", "64").returncode == 0


def test_report_and_state_of_a_validation(small_disk: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.lmdb"
    build_long_lmdb(file, 70)
    report = small_disk / "report.json"
    command = ["validate", "--lmdb-file", str(file), "--models", MODEL, "--json", str(report)]
    filler = fill(small_disk)
    done = run(*command)
    assert done.returncode == 1
    assert "report.json cannot be written (No space left on device)" in done.stderr
    assert "images" not in done.stderr, "nothing was measured"
    # Room for the check, not for the report.
    filler.unlink()
    filler = fill(small_disk, 8192)
    done = run(*command, LOWRANK_CACHE_DIR=str(small_disk / "cache"))
    assert "Traceback" not in done.stderr
    assert "top-1" in done.stdout, "what was measured is shown, though it cannot be written"
    assert done.returncode != 0
    assert "could not be written" in done.stderr or "No space" in done.stderr
    assert not report.exists()
    filler.unlink()
    assert run(*command).returncode == 0
    assert json.loads(report.read_text())["count"] == 70


def test_stopping_a_validation_whose_state_cannot_be_kept(small_disk: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.lmdb"
    build_long_lmdb(file, 6_000)
    (small_disk / "cache").mkdir()
    fill(small_disk)
    command = ("validate", "--lmdb-file", str(file), "--models", MODEL)
    code, shown, said = stopped_under_way(command, {"LOWRANK_CACHE_DIR": str(small_disk / "cache")})
    assert code == 130
    assert "could not be saved" in said
    assert "continues from here" not in said
    assert "Traceback" not in said
    assert "top-1" in shown


def test_an_uploaded_set(small_disk: Path, tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for photo in photos(tmp_path / "photos", 60).rglob("*.jpg"):
            archive.write(photo, f"lion/{photo.name}")
    files = LabelledFiles(settings, [], small_disk / "sets")
    filler = fill(small_disk, 5_000_000)
    with pytest.raises(LowRankError, match="could not store the set, because its disk is full") as refused:
        uploaded(files, path)
    assert str(small_disk) not in str(refused.value)
    left = [path for path in small_disk.rglob("*") if path.is_file() and path != filler]
    assert left == []
    filler.unlink()
    assert uploaded(files, path).count == 60


def test_photos_sent_to_the_app(small_disk: Path, tmp_path: Path) -> None:
    environment = {"LOWRANK_CACHE_DIR": str(tmp_path / "cache"), "GRADIO_TEMP_DIR": str(small_disk / "uploads")}
    with running_app(environment, tmp_path / "log") as app:
        filler = fill(small_disk, 40_000)
        with ApiClient(app.url) as client, pytest.raises((Refused, httpx.TransportError)):
            client.upload("photo.jpg", os.urandom(3_000_000))
        filler.unlink()
        # The server may have closed the line on the upload that it could not keep.
        with ApiClient(app.url) as client:
            assert client.classify(photo_path().read_bytes())["top"]


def test_starting_the_app(small_disk: Path, tmp_path: Path) -> None:
    """Nothing is written at start, so that visitors without photos of their own are served."""
    fill(small_disk)
    environment = {"LOWRANK_CACHE_DIR": str(tmp_path / "cache"), "GRADIO_TEMP_DIR": str(small_disk / "uploads")}
    with running_app(environment, tmp_path / "log") as app, ApiClient(app.url) as client:
        assert client.call("models")
        with pytest.raises((Refused, httpx.TransportError)):
            client.upload("photo.jpg", os.urandom(3_000_000))
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_model_that_was_trained(small_disk: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    build_long_lmdb(tmp_path / "train.lmdb", 8)
    config.write_text(
        f'folder = "{small_disk / "run"}"\n[data]\ntrain = "train.lmdb"\nvalidation = "train.lmdb"\nbatch_size = 8\n'
        f'workers = 0\n[finetune]\nstart = "{MODEL}"\nfrozen_layers = 7\nepochs = 1\n'
    )
    done = run("train", "finetune", str(config))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not list(small_disk.rglob("*.pt"))


@pytest.fixture
def read_only(small_disk: Path) -> Path:
    """A disk mounted read-only, which binds root as well."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    return small_disk


def test_a_read_only_disk(read_only: Path, tmp_path: Path) -> None:
    images, file, config = photos(tmp_path / "photos", 2), tmp_path / "file.lmdb", tmp_path / "run.toml"
    build_long_lmdb(file, 8)
    config.write_text(
        f'folder = "{read_only}"\n[data]\ntrain = "file.lmdb"\nvalidation = "file.lmdb"\nbatch_size = 8\n'
        f'workers = 0\n[finetune]\nstart = "{MODEL}"\nepochs = 1\n'
    )
    for command in (
        ["resize", str(images), "--to", str(read_only / "resized")],
        ["resize", str(images), "--to", str(read_only)],
        ["build-lmdb", "--images", str(images), "--lmdb-file", str(read_only / "built.lmdb")],
        ["validate", "--lmdb-file", str(file), "--models", MODEL, "--json", str(read_only / "report.json")],
        ["train", "reference", str(config)],
        ["train", "finetune", str(config)],
        ["convert", MODEL, "--to", str(read_only / "converted")],
        ["export", MODEL, "--to", str(read_only / "model.onnx")],
    ):
        done = run(*command)
        assert done.returncode in (1, 2), command
        assert done.stderr.startswith(f"lowrank_demo: {read_only}"), command
        assert "cannot be written (Read-only file system)" in done.stderr
        assert done.stderr.count("\n") == 1
