"""Work that is killed (SIGKILL) at random moments: what is at the final place is whole, and doing it again succeeds."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lowrank_demo.data.lmdb.manifest import verify
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.runtime.files import file_sha256
from lowrank_demo.train.trainer import load_checkpoint
from tests.faults.client import ApiClient
from tests.helpers.app import running_app
from tests.helpers.commands import start
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.models import zoo_with
from tests.helpers.paths import sha256
from tests.helpers.photos import encoded, open_photo
from tests.helpers.server import FileServer
from tests.helpers.zips import zipped

pytestmark = pytest.mark.spread

TIMES = [3, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]


def complete(*arguments: str, **environment: str) -> float:
    """Run to the end; returns how long it took."""
    began = time.monotonic()
    process = start(*arguments, **environment)
    process.join(240)
    assert process.exitcode == 0
    return time.monotonic() - began


def killed(seconds: float, *arguments: str, **environment: str) -> bool:
    """Kill after so many seconds; whether it was still running then."""
    process = start(*arguments, **environment)
    assert process.pid
    process.join(seconds)
    running = process.exitcode is None
    if running:
        with contextlib.suppress(ProcessLookupError):  # it has not become the first of its session yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
    return running


def at_random(times: int, whole: float, attempt: Callable[[float], bool]) -> None:
    """Kill at moments spread over the time that a whole run takes, until more than half of ``times`` were under way.

    ``times`` attempts do where most moments come early enough; it fails after three times as many. A run that
    ends before its moment shows how long one takes by now, as when the machine has less to do.
    """
    randomness = random.Random(times)
    hits = 0
    for number in range(3 * times):
        moment = whole * (number % times + randomness.random()) / times
        hit = attempt(moment)
        hits += hit
        whole = whole if hit else min(whole, moment)
        if number + 1 >= times and hits > times / 2:
            return
    raise AssertionError(f"{hits} of {3 * times} were killed under way")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 photos in class folders."""
    folder = tmp_path_factory.mktemp("photos")
    photo = open_photo().resize((500, 400))
    for i in range(200):
        path = folder / ("lion" if i % 2 else "cheetah") / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(photo.rotate(i), "JPEG"))
    return folder


@pytest.mark.parametrize("times", TIMES)
def test_build(times: int, photos: Path, tmp_path: Path) -> None:
    def command(target: Path) -> list[str]:
        return ["build-lmdb", "--images", str(photos), "--shortest-edge", "256", "--lmdb-file", str(target)]

    whole = complete(*command(tmp_path / "reference.lmdb"))
    target = tmp_path / "built.lmdb"

    def attempt(seconds: float) -> bool:
        hit = killed(seconds, *command(target))
        if target.exists():
            verify(target)
            target.unlink()
        return hit

    at_random(times, whole, attempt)
    complete(*command(target))
    assert verify(target).sha256 == file_sha256(tmp_path / "reference.lmdb")


@pytest.mark.parametrize("times", TIMES)
def test_resize(times: int, photos: Path, tmp_path: Path) -> None:
    whole = complete("resize", str(photos), "--to", str(tmp_path / "reference"))
    target = tmp_path / "resized"
    reference = tmp_path / "reference"
    expected = {path.relative_to(reference): path.read_bytes() for path in reference.rglob("*.jpg")}

    def attempt(seconds: float) -> bool:
        hit = killed(seconds, "resize", str(photos), "--to", str(target))
        for path in target.rglob("*.jpg"):
            if not path.name.startswith("."):
                assert path.read_bytes() == expected[path.relative_to(target)]
                path.unlink()
        return hit

    at_random(times, whole, attempt)
    complete("resize", str(photos), "--to", str(target))
    assert {path.relative_to(target): path.read_bytes() for path in target.rglob("*") if path.is_file()} == expected


@pytest.mark.parametrize("times", TIMES)
def test_download(times: int, file_server: FileServer, pickled: Path, photos: Path, tmp_path: Path) -> None:
    (file_server.folder / pickled.name).write_bytes(pickled.read_bytes())
    file_server.seconds_for_each_mb = 0.05
    weights = {"url": f"{file_server.url}/{pickled.name}", "sha256": sha256(pickled)[:8]}
    zoo = str(zoo_with(tmp_path / "zoo", {"published/scheme_2/v5": weights}))
    command = ["classify", str(photos / "lion" / "1.jpg"), "--model", "published/scheme_2/v5"]
    whole = complete(*command, LOWRANK_ZOO=zoo, LOWRANK_CACHE_DIR=str(tmp_path / "first"))
    cache = tmp_path / "cache"

    def attempt(seconds: float) -> bool:
        hit = killed(seconds, *command, LOWRANK_ZOO=zoo, LOWRANK_CACHE_DIR=str(cache))
        final = cache / pickled.name
        if final.exists():
            assert sha256(final) == sha256(pickled)
            final.unlink()
        return hit

    at_random(times, whole, attempt)
    complete(*command, LOWRANK_ZOO=zoo, LOWRANK_CACHE_DIR=str(cache))
    assert sha256(cache / pickled.name) == sha256(pickled)


@pytest.mark.parametrize("times", TIMES)
def test_validation(times: int, tmp_path: Path) -> None:
    file = tmp_path / "file.lmdb"
    build_long_lmdb(file, 200)

    def command(name: str) -> list[str]:
        return ["validate", "--lmdb-file", str(file), "--models", "bundled/scheme_2/v5", "--json", str(tmp_path / name)]

    def sums(name: str) -> dict[str, object]:
        report = json.loads((tmp_path / name).read_text())
        return {key: value for key, value in report.items() if key not in ("images_per_second", "measured_at")}

    whole = complete(*command("reference"))
    reference = sums("reference")

    def attempt(seconds: float) -> bool:
        hit = killed(seconds, *command("report"), "--resume")
        if (tmp_path / "report").exists():
            assert sums("report") == reference
            (tmp_path / "report").unlink()
        return hit

    at_random(times, whole, attempt)
    complete(*command("report"), "--resume")
    assert sums("report") == reference


def test_an_app_that_is_stopped_while_it_unpacks_leaves_nothing(tmp_path: Path) -> None:
    """What the child process wrote meanwhile stayed for ever, without the lock that says whose it was."""
    left = tmp_path / "left"
    environment = {"GRADIO_TEMP_DIR": str(left), "LOWRANK_CACHE_DIR": str(tmp_path / "cache")}
    photos = {f"lion/{i}.jpg": bytes(3000) for i in range(4900)}
    data = zipped(tmp_path / "set.zip", photos).read_bytes()
    with running_app(environment, tmp_path / "log") as app, ApiClient(app.url) as client:
        client.press("on_upload", {"path": client.upload("set.zip", data)})
        deadline = time.monotonic() + 60
        while len(list(left.glob("lowrank-uploads-*/sets/*/*"))) < 300:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        app.process.terminate()
        assert app.process.wait(30) == 0
    assert not list(left.iterdir())
    assert "Traceback" not in (tmp_path / "log").read_text()


CONFIG = """
seed = 3
folder = "{folder}"
[data]
train = "train.lmdb"
validation = "train.lmdb"
batch_size = 8
workers = 0
[finetune]
start = "bundled/scheme_2/v5"
frozen_layers = 2
epochs = 4
learning_rate = 0.0001
"""


@pytest.mark.parametrize("times", TIMES)
def test_training(times: int, tmp_path: Path) -> None:
    build_long_lmdb(tmp_path / "train.lmdb", 16)
    for name in ("reference", "run"):
        (tmp_path / f"{name}.toml").write_text(CONFIG.format(folder=name))
    # One thread: the order of additions, and so the last bit, is the same in every run.
    one = {"OMP_NUM_THREADS": "1"}
    whole = complete("train", "finetune", str(tmp_path / "reference.toml"), **one)
    checkpoint = tmp_path / "run" / "finetune.pt"

    def command() -> list[str]:
        resume = ["--resume"] if checkpoint.exists() else []
        return ["train", "finetune", str(tmp_path / "run.toml"), *resume]

    def attempt(seconds: float) -> bool:
        hit = killed(seconds, *command(), **one)
        if checkpoint.exists():
            state = load_checkpoint(checkpoint)
            assert 1 <= state["epoch"] <= 4
            if state["epoch"] == 4:
                checkpoint.unlink()
        return hit

    at_random(times, whole, attempt)
    complete(*command(), **one)
    expected = load_checkpoint(tmp_path / "reference" / "finetune.pt")["network"]
    found = load_checkpoint(checkpoint)["network"]
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_build_that_is_killed_leaves_the_old_file(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "old.lmdb"
    build_long_lmdb(target, 50)
    before = file_sha256(target)
    images = ["--images", str(photos), "--shortest-edge", "256", "--overwrite"]
    assert killed(0.7, "build-lmdb", *images, "--lmdb-file", str(target))
    assert file_sha256(target) == before
    with LmdbReader(target) as reader:
        assert len(reader) == 50
