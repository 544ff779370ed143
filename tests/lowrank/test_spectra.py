"""The singular values of a network against a plain SVD of its dense weights, and the truncations against a search."""

from __future__ import annotations

import math

import pytest
import torch

from lowrank_demo.lowrank.c_step import Cost, Criterion, to_matrix
from lowrank_demo.lowrank.refactor import dense_weight
from lowrank_demo.lowrank.spectra import Spectra
from lowrank_demo.models.architecture import matrix_shape, network_cost
from lowrank_demo.nn.alexnet import LowRankAlexNet, LowRankLayer
from tests.helpers.small_alexnet import SMALL_LAYERS

RANKS = (5, 9, 8, 7, 6, 10, 9, 8)


@pytest.fixture(scope="module", params=["scheme_1", "scheme_2"])
def network(request: pytest.FixtureRequest) -> LowRankAlexNet:
    torch.manual_seed(5)
    network = LowRankAlexNet(request.param, RANKS, SMALL_LAYERS).eval()
    with torch.no_grad():
        for layer, rank in zip(SMALL_LAYERS, RANKS, strict=True):
            # As in a trained network, some components matter more than others.
            u = network.get_parameter(f"{layer.key}.U.weight")
            u.mul_(0.6 ** torch.arange(rank).reshape(1, -1, *[1] * (u.dim() - 2)))
    return network


@torch.no_grad()
def test_singular_values_are_those_of_the_dense_layer(network: LowRankAlexNet) -> None:
    spectra = Spectra.of(network)
    for layer, rank, values in zip(SMALL_LAYERS, RANKS, spectra.values, strict=True):
        assert values.shape == (rank,)
        pair = network.get_submodule(layer.key)
        assert isinstance(pair, LowRankLayer)
        dense = torch.linalg.svdvals(to_matrix(dense_weight(pair), network.scheme))
        torch.testing.assert_close(values, dense[:rank], rtol=1e-3, atol=1e-6)
        assert float(dense[rank:].max()) < 1e-5 * float(dense[0]), "there are no more"


@pytest.mark.parametrize(("criterion", "cost"), [("flops", "true"), ("flops", "original"), ("storage", "true")])
def test_a_truncation_is_the_cheapest_of_all(network: LowRankAlexNet, criterion: Criterion, cost: Cost) -> None:
    spectra = Spectra.of(network)
    seen: set[tuple[int, ...]] = set()
    for exponent in range(-9, 0):
        lambda_ = 10.0**exponent
        truncation = spectra.truncation(lambda_, 0.01, criterion, cost)
        seen.add(truncation.ranks)
        assert truncation.macs == network_cost(network.scheme, truncation.ranks, SMALL_LAYERS).macs
        one = network_cost(network.scheme, [1] * len(SMALL_LAYERS), SMALL_LAYERS).layers
        for layer, factors, values, rank, kept in zip(
            SMALL_LAYERS, one, spectra.values, truncation.ranks, truncation.energy, strict=True
        ):
            rows, columns = matrix_shape(layer, network.scheme)
            unit = rows + columns
            if criterion == "flops":
                unit = factors.macs if cost == "true" else unit * layer.out_size**2
            squares = [value**2 for value in values.tolist()]
            prices = [
                lambda_ * 1e-6 * unit * r + 0.005 * math.fsum(squares[r:]) / math.fsum(squares)
                for r in range(len(squares) + 1)
            ]
            assert prices[rank] <= min(prices) * (1 + 1e-9)
            assert kept == pytest.approx(math.fsum(squares[:rank]) / math.fsum(squares))
    assert len(seen) > 3
    path = spectra.path([1e-9, 1e-4, 1e-3], 0.01)
    assert path[0].ranks == RANKS
    assert path[2].macs < path[1].macs < path[0].macs


@torch.no_grad()
def test_without_energy(network: LowRankAlexNet) -> None:
    network.get_parameter("features.0.U.weight").zero_()
    truncation = Spectra.of(network).truncation(1e-6, 0.01)
    assert (truncation.ranks[0], truncation.energy[0]) == (0, 1.0)
