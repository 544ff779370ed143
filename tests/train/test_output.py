"""Stored weights: what a weight file gives back of the trained ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from lowrank_demo.models.store import LocalFile
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.nn.state_dict import read_state_dict
from lowrank_demo.train.output import quantised
from tests.helpers.paths import sha256
from tests.helpers.small_alexnet import SMALL_LAYERS


@pytest.mark.parametrize(("kind", "tolerance"), [("int8", 1 / 127), ("float16", 1e-3), ("float32", 0.0)])
def test_a_file_gives_the_weights_back(tmp_path: Path, kind: str, tolerance: float) -> None:
    torch.manual_seed(0)
    state = LowRankAlexNet("scheme_1", [2, 3, 4, 5, 6, 7, 8, 9], SMALL_LAYERS).state_dict()
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(quantised(state, kind), path)
    restored = read_state_dict(LocalFile(path, sha256(path), "safetensors"))
    assert restored.keys() == state.keys()
    for key, tensor in state.items():
        assert restored[key].dtype == tensor.dtype
        assert (restored[key] - tensor).abs().max() <= tolerance * max(float(tensor.abs().max()), 1e-9)


def test_vectors_are_halved_only_where_nothing_is_lost() -> None:
    state = {"mean": torch.tensor([1.5, -0.25]), "var": torch.tensor([1e6, 1.0]), "count": torch.tensor(3)}
    kinds = {key: tensor.dtype for key, tensor in quantised(state, "int8").items()}
    assert kinds == {"mean": torch.float16, "var": torch.float32, "count": torch.int64}
