"""The networks of a path compute what each of them computes when it is loaded alone."""

from __future__ import annotations

from pathlib import Path

import torch

from lowrank_demo.lowrank.load import fetch_network
from lowrank_demo.lowrank.slices import fetch_slices
from lowrank_demo.models.path import path_of
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.settings import ASSETS
from tests.helpers.models import nested_models, own_model


def test_slices_of_a_nested_file(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "nested"))
    store = WeightStore(zoo, tmp_path / "cache")
    path = path_of(zoo, "nested", "scheme_2")
    networks = fetch_slices(store, path)
    images = torch.randn(2, 3, 227, 227)
    with torch.inference_mode():
        for card, network in zip(path, networks, strict=True):
            assert network.ranks == card.ranks
            torch.testing.assert_close(network(images), fetch_network(store, card)(images))
    first, last = (one.get_parameter("classifier.0.V.weight") for one in (networks[0], networks[-1]))
    assert first.untyped_storage().data_ptr() == last.untyped_storage().data_ptr(), "they share their factors"


def test_slices_of_one_model_are_its_truncations(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", own_model(tmp_path / "own"))
    store = WeightStore(zoo, tmp_path / "cache")
    whole = zoo.get("own/scheme_2/mine")
    cards = [whole, whole.truncated([3, 10, 20, 20, 30, 60, 50, 40])]
    images = torch.randn(1, 3, 227, 227)
    with torch.inference_mode():
        for card, network in zip(cards, fetch_slices(store, cards), strict=True):
            torch.testing.assert_close(network(images), fetch_network(store, card)(images), rtol=1e-3, atol=1e-3)
