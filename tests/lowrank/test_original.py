"""Equality with the authors' library: 1,324 C steps, and the nine networks with their initial weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowrank_demo.lowrank.c_step import Decomposition, lost_energy, select_rank, to_matrix, unit_cost
from lowrank_demo.lowrank.factors import product
from lowrank_demo.model_def import low_rank_alexnet
from tests.lowrank.original import CASES, Case, case

FOUND: dict[str, Any] = json.loads(Path(__file__).with_name("original.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    assert len(FOUND["ranks"]) == CASES
    return [case(seed) for seed in range(CASES)]


def c_step(one: Case, dtype: torch.dtype) -> tuple[int, float]:
    """Return the rank that is chosen, and the distance of the low-rank weight from the given one."""
    whole = torch.from_numpy(one.weight)
    weight = whole.to(dtype)
    found = Decomposition.of(weight, one.scheme)
    rows, columns = to_matrix(weight, one.scheme).shape
    cost = unit_cost(rows, columns, one.criterion, one.positions, one.positions)
    rank = select_rank(lost_energy(found.s, normalised=one.normalised), cost, one.lambda_, one.mu)
    if not rank:
        return 0, float(whole.norm())
    v, u = found.factors(rank)
    return rank, float((product(v.double(), u.double()) - whole).norm())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_each_c_step_keeps_the_same_rank(cases: list[Case], dtype: torch.dtype, tolerance: float) -> None:
    """The original computed in float64. Users' weights are float32, which are decomposed in another way."""
    for seed, one in enumerate(cases):
        rank, distance = c_step(one, dtype)
        assert rank == FOUND["ranks"][seed], f"case {seed}"
        assert distance == pytest.approx(FOUND["distances"][seed], abs=tolerance), f"case {seed}"


@pytest.mark.parametrize("name", FOUND["networks"])
def test_a_network_begins_and_computes_as_the_original(name: str) -> None:
    expected = FOUND["networks"][name]
    torch.manual_seed(0)
    scheme, _, tag = name.rpartition("_")
    network = low_rank_alexnet(scheme, tag)
    digest = hashlib.sha256()
    for key, tensor in network.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == expected["state_dict_sha256"], "the same keys in the same order, the same bits"
    images = torch.from_numpy(np.random.RandomState(1).randn(2, 3, 227, 227).astype(np.float32))
    with torch.no_grad():
        logits = network.eval()(images)
        torch.manual_seed(5)  # dropout
        trained = network.train()(images)
    np.testing.assert_allclose(logits[:, ::200].flatten(), expected["evaluation"], rtol=1e-3, atol=1e-4)
    # The statistics of two images enlarge what rounding differs by.
    np.testing.assert_allclose(trained[:, ::200].flatten(), expected["training"], atol=2e-3)
    loss = network.loss(logits, torch.tensor([3, 999]))  # pyright: ignore[reportCallIssue]
    assert float(loss) == pytest.approx(expected["loss"], rel=1e-4)
