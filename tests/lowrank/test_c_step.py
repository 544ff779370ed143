"""The C step against exhaustive search; factors against the matrices they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lowrank_demo.lowrank.c_step import (
    Criterion,
    Decomposition,
    from_matrix,
    lost_energy,
    select_rank,
    to_matrix,
    unit_cost,
)
from lowrank_demo.lowrank.factors import factorised
from lowrank_demo.models.architecture import LAYERS, matrix_shape

SHAPES = [(12, 7, 3, 3), (8, 3, 11, 11), (5, 6, 1, 1), (20, 30), (30, 20)]


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
@pytest.mark.parametrize("criterion", ["flops", "storage"])
@pytest.mark.parametrize("normalised", [True, False])
def test_equals_exhaustive_search(scheme: str, criterion: Criterion, normalised: bool) -> None:
    """Every rank tried: the matrix truncated by numpy-style SVD, its distance measured entry by entry."""
    generator = torch.Generator().manual_seed(7)
    chosen = set()
    for trial in range(40):
        shape = SHAPES[trial % len(SHAPES)]
        weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        positions = 1 if len(shape) == 2 else 9
        matrix = to_matrix(weight, scheme)
        rows, columns = matrix.shape
        lambda_ = 10 ** float(torch.empty(1).uniform_(0, 6, generator=generator))
        mu = 10 ** float(torch.empty(1).uniform_(-2, 2, generator=generator))
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        best, best_rank = float("inf"), -1
        for rank in range(len(s) + 1):
            truncated = u[:, :rank] @ torch.diag(s[:rank]) @ vh[:rank]
            lost = float(((matrix - truncated) ** 2).sum())
            if normalised:
                lost /= float((matrix**2).sum())
            macs = rank * (rows + columns) * (positions if criterion == "flops" else 1)
            objective = lambda_ * 1e-6 * macs + mu / 2 * lost
            if objective < best - 1e-12:
                best, best_rank = objective, rank
        cost = unit_cost(rows, columns, criterion, positions, positions)
        assert select_rank(lost_energy(s, normalised=normalised), cost, lambda_, mu) == best_rank
        chosen.add(best_rank)
    assert len(chosen) > 5, "the trials cover many ranks"


def test_limits() -> None:
    lost = lost_energy(torch.tensor([3.0, 2.0, 1.0]))
    assert select_rank(lost, 10, 0.0, 1.0) == 3
    assert select_rank(lost, 10, 1e9, 1.0) == 0
    assert select_rank(lost_energy(torch.zeros(3)), 10, 1.0, 1.0) == 0
    lost = lost_energy(torch.arange(50, 0, -1.0))
    ranks = [select_rank(lost, 1000, lambda_, 1.0) for lambda_ in (0, 0.1, 1, 10, 100)]
    assert ranks == sorted(ranks, reverse=True), "a larger λ keeps fewer ranks"


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_and_back(scheme: str, shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape)
    matrix = to_matrix(weight, scheme)
    assert torch.equal(from_matrix(matrix, weight.shape, scheme), weight)
    if scheme == "scheme_2" and len(shape) == 4:
        n, m, k1, k2 = 3, 2, 0, shape[3] - 1
        assert matrix[n * shape[2] + k1, m * shape[3] + k2] == weight[n, m, k1, k2]


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_shapes_are_those_of_the_cost_model(scheme: str) -> None:
    for layer in LAYERS:
        k = layer.kernel
        shape = (layer.outputs, layer.inputs, k, k) if layer.kind == "conv" else (layer.outputs, layer.inputs)
        with torch.device("meta"):
            assert tuple(to_matrix(torch.empty(shape), scheme).shape) == matrix_shape(layer, scheme)


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
@pytest.mark.parametrize("rank", [0, 1, 4, 21])
@pytest.mark.parametrize(
    "module", [nn.Conv2d(7, 12, 3, stride=2, padding=1), nn.Conv2d(7, 12, (3, 5), padding=(1, 2)), nn.Linear(21, 30)]
)
def test_factors_compute_the_truncated_layer(scheme: str, rank: int, module: nn.Conv2d | nn.Linear) -> None:
    inputs = torch.randn(2, 7, 15, 16) if isinstance(module, nn.Conv2d) else torch.randn(2, 21)
    decomposition = Decomposition.of(module.weight, scheme)
    rank = min(rank, len(decomposition.s))
    pair = factorised(module, scheme, rank)
    dense = module
    expected_weight = decomposition.truncated(rank)
    original = module.weight.data.clone()
    module.weight.data = expected_weight
    expected = dense(inputs)
    module.weight.data = original
    torch.testing.assert_close(pair(inputs), expected, atol=1e-4, rtol=1e-4)
    assert list(pair.state_dict()) == ["V.weight", "U.weight", "U.bias"]
    v, u = decomposition.factors(rank)
    if rank:
        torch.testing.assert_close(v.pow(2).sum(), u.pow(2).sum(), rtol=1e-4, atol=1e-4)


def test_full_rank_is_the_weight_itself() -> None:
    weight = torch.randn(6, 5, 3, 3)
    for scheme in ("scheme_1", "scheme_2"):
        decomposition = Decomposition.of(weight, scheme)
        torch.testing.assert_close(decomposition.truncated(len(decomposition.s)), weight, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.float16, 2e-3)])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_factors_keep_what_the_truncated_weight_keeps(
    shape: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    """Singular values from 1 to 1e-10, of which float64 holds all."""
    torch.manual_seed(4)
    u, _, vh = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    weight = ((u * torch.logspace(0, -10, 30, dtype=torch.float64)) @ vh).to(dtype)
    decomposition = Decomposition.of(weight, "scheme_1")
    for rank in (10, 30):
        left, right = decomposition.factors(rank)[::-1]
        assert left.dtype == right.dtype == dtype
        made = left.double() @ right.double()
        assert float((made - decomposition.truncated(rank).double()).norm()) < tolerance


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (8, 3, 11, 11)])
@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_decomposition_is_that_of_linalg_svd(shape: tuple[int, ...], scheme: str) -> None:
    weight = torch.randn(shape)
    weight = weight * torch.linspace(1, 1e-3, shape[-1])  # a wide range of singular values
    ours = Decomposition.of(weight, scheme)
    u, s, vh = torch.linalg.svd(to_matrix(weight.double(), scheme), full_matrices=False)
    torch.testing.assert_close(ours.s.double(), s, rtol=1e-5, atol=1e-7)
    for rank in (1, 5, len(s) // 2, len(s)):
        expected = from_matrix((u[:, :rank] * s[:rank]) @ vh[:rank], weight.shape, scheme)
        torch.testing.assert_close(ours.truncated(rank).double(), expected, rtol=1e-4, atol=1e-5)


def test_weights_of_low_rank_and_zero_weights() -> None:
    low = torch.randn(20, 3) @ torch.randn(3, 40)
    for weight in (low, low.T.contiguous(), torch.zeros(6, 9)):
        decomposition = Decomposition.of(weight, "scheme_1")
        torch.testing.assert_close(decomposition.truncated(3), weight, atol=1e-4, rtol=1e-4)
        for rank in (3, 5):
            v, u = decomposition.factors(rank)
            torch.testing.assert_close(u @ v, weight, atol=1e-4, rtol=1e-4)
