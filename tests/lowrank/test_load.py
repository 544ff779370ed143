"""Truncated models: slices of a nested file, the truncated SVD of any other, and statistics from photos."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

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


def statistics(network: nn.Module) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in network.state_dict().items() if "running" in key}


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


@torch.no_grad()
def test_statistics_come_from_the_version_or_from_photos(store: WeightStore) -> None:
    card, file = loaded(store, f"nested/scheme_2@{'-'.join(map(str, RANKS))}")
    photos = torch.randn(24, 3, 227, 227, generator=torch.Generator().manual_seed(1))
    measured, plain = load_network(card, file, photos=photos), load_network(card, file)
    assert not measured.training
    first = measured.features[0](photos)
    found = statistics(measured)
    torch.testing.assert_close(found["features.1.running_mean"], first.mean((0, 2, 3)))
    torch.testing.assert_close(found["features.1.running_var"], first.var((0, 2, 3)))
    for key, tensor in statistics(plain).items():
        assert not torch.equal(found[key], tensor)
    for key, tensor in measured.named_parameters():
        assert torch.equal(tensor, plain.get_parameter(key)), "the weights are the same"


def test_photos_leave_a_model_at_its_own_ranks_as_it_is(store: WeightStore) -> None:
    card, file = loaded(store, "nested/scheme_2/v2")
    found = load_network(card, file, photos=torch.randn(2, 3, 227, 227))
    for key, tensor in load_network(card, file).state_dict().items():
        assert torch.equal(found.state_dict()[key], tensor)
