"""Truncated models: slices of a nested file, the truncated SVD of any other."""

from __future__ import annotations

import pytest
import torch

from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.store import LocalFile, WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.settings import ASSETS
from tests.helpers.models import nested_models

RANKS = (2, 4, 3, 4, 4, 5, 4, 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> WeightStore:
    folder = tmp_path_factory.mktemp("load")
    return WeightStore(read_zoo(ASSETS / "zoo.json", nested_models(folder / "models")), folder / "cache")


def loaded(store: WeightStore, model_id: str) -> tuple[ModelCard, LocalFile]:
    card = store.zoo.get(model_id)
    return card, store.ensure(card)


def test_a_truncated_model_of_a_nested_file_is_its_first_components(store: WeightStore) -> None:
    whole = load_network(*loaded(store, "nested/scheme_2/v2")).state_dict()
    sliced = load_network(*loaded(store, f"nested/scheme_2@{'-'.join(map(str, RANKS))}"))
    assert sliced.ranks == RANKS
    assert not sliced.training
    for key, tensor in sliced.state_dict().items():
        own = whole[key]
        if key.endswith("V.weight"):
            own = own[: len(tensor)]
        elif key.endswith("U.weight"):
            own = own[:, : tensor.shape[1]]
        assert torch.equal(tensor, own), key
