"""Fixtures of all tests: a clean environment, the zoo, a file server, the app, a browser."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.models.zoo import Zoo, read_zoo
from lowrank_demo.settings import ASSETS, Settings
from tests.helpers import browser as chromium
from tests.helpers.app import RunningApp, running_app
from tests.helpers.hub import StandInHub
from tests.helpers.lmdb_files import build_lmdb, build_long_lmdb
from tests.helpers.models import own_model, zoo_with
from tests.helpers.paths import FILES, sha256
from tests.helpers.server import FileServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several workers one thread for computing: more of them than processors only wait for each other.

    Child processes inherit it, so that all of a test's processes add in the same order. They also inherit which signals
    are ignored: a suite that a shell started in the background, or nohup, ignores those that tests send.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # Torch was imported above, before the variable was set.
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests run in the same worker: those that share the app, and those of one file unless it is ``spread``.

    The longest come first, so that all workers are done at about the same time.
    """
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if "app" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("app"))
        elif item.get_closest_marker("spread") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unset the program's variables but for the cache, which is a folder of the test."""
    for name in list(os.environ):
        if name.startswith("LOWRANK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOWRANK_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the default settings with a cache of the test's own."""
    return Settings.from_environment({"LOWRANK_CACHE_DIR": str(tmp_path / "cache")})


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    """Return the models of the repository."""
    return read_zoo(ASSETS / "zoo.json")


@pytest.fixture(scope="session")
def published_models() -> list[dict]:
    """Return the figures of the nine models as the original release states them."""
    return json.loads((FILES / "published_models.json").read_text())["models"]


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[FileServer]:
    """Serve an empty folder over HTTP."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = FileServer(folder)
    yield server
    server.close()


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    """Serve an empty Hub on this machine."""
    server = StandInHub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def built(tmp_path: Path, records: list[Record]) -> Path:
    """Return an LMDB file of the ``records`` of the test's own module."""
    return build_lmdb(tmp_path / "built.lmdb", records)


@pytest.fixture(scope="session")
def pickled(tmp_path_factory: pytest.TempPathFactory, zoo: Zoo) -> Path:
    """Return a state_dict of scheme_2/v5 in the original release's format: a pickle made by ``torch.save``."""
    from lowrank_demo.nn.alexnet import LowRankAlexNet

    card = zoo.get("published/scheme_2/v5")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / card.weights.file
    torch.save(LowRankAlexNet(card.scheme, card.ranks).state_dict(), path)
    return path


@pytest.fixture
def served_settings(settings: Settings, file_server: FileServer, pickled: Path, tmp_path: Path) -> Settings:
    """Return settings whose published/scheme_2/v5 is served by ``file_server`` with its 8 published digits."""
    (file_server.folder / pickled.name).write_bytes(pickled.read_bytes())
    weights = {"url": f"{file_server.url}/{pickled.name}", "sha256": sha256(pickled)[:8]}
    return dataclasses.replace(settings, zoo=zoo_with(tmp_path / "zoo", {"published/scheme_2/v5": weights}))


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, pickled: Path) -> Iterator[RunningApp]:
    """Start the app, with published/scheme_2/v5 on a local server and an LMDB file that takes a while."""
    folder = tmp_path_factory.mktemp("app")
    server = FileServer(pickled.parent)
    weights = {"url": f"{server.url}/{pickled.name}", "sha256": sha256(pickled)[:8]}
    zoo_path = zoo_with(folder / "zoo", {"published/scheme_2/v5": weights})
    (folder / "lmdb").mkdir()
    build_long_lmdb(folder / "lmdb" / "long.lmdb", 2000)
    environment = {
        "LOWRANK_CACHE_DIR": str(folder / "cache"),
        "LOWRANK_LMDB_DIR": str(folder / "lmdb"),
        "LOWRANK_ZOO": str(zoo_path),
        "LOWRANK_MODELS_DIR": str(own_model(folder / "models")),
    }
    with running_app(environment, folder / "log") as running:
        yield running
    server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a Chromium; skip where there is none."""
    path = chromium.find()
    if path is None:
        pytest.skip("no Chromium here and none could be installed")
    from playwright.sync_api import sync_playwright  # absent where only the tests marked gpu run

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=chromium.ARGUMENTS)
        yield browser
        browser.close()
