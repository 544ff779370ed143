"""The networks in memory: loaded once, the most recent kept, and left alone by long passes."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from tests.helpers.lmdb_files import build_long_lmdb

V5 = "bundled/scheme_2/v5"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.lmdb"
    build_long_lmdb(path, 16)
    return path


def test_memory_keeps_the_most_recent_models(served_settings: Settings) -> None:
    service = Service(dataclasses.replace(served_settings, max_models_mb=60))
    first = service.networks.get(service.zoo.get(V5), service.machine.device)
    assert service.networks.get(service.zoo.get(V5), service.machine.device) is first
    service.networks.get(service.zoo.get("scheme_2/v5"), service.machine.device)
    assert service.networks.get(service.zoo.get(V5), service.machine.device) is not first


def test_threads_that_ask_at_once_get_one_network(settings: Settings) -> None:
    service = Service(settings)
    card, device = service.zoo.get(V5), service.machine.device
    with ThreadPoolExecutor(4) as pool:
        networks = list(pool.map(lambda _: service.networks.get(card, device), range(4)))
    assert len({id(network) for network in networks}) == 1


def test_a_model_in_memory_is_not_loaded_again(settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(settings)
    card = service.zoo.get(V5)
    classifier = service.networks.get(card, service.machine.device)

    def refuse(*args: object) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr("lowrank_demo.lowrank.load.load_network", refuse)
    with service.open_validation(file, [card], batch_size=8) as run:
        next(iter(run))
    assert service.networks.get(card, service.machine.device) is classifier


def test_a_validation_leaves_the_models_of_visitors_in_memory(settings: Settings, file: Path) -> None:
    service = Service(dataclasses.replace(settings, max_models_mb=60))
    card = service.zoo.get(V5)
    classifier = service.networks.get(card, service.machine.device)
    with service.open_validation(file, [service.zoo.get("bundled/scheme_1/v4")], batch_size=8) as run:
        next(iter(run))
    assert service.networks.get(card, service.machine.device) is classifier
