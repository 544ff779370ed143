"""A network brought to other ranks and the other scheme, against its layers as dense ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lowrank_demo.lowrank.refactor import dense_weight, order_components, refactored, truncated
from lowrank_demo.models.architecture import full_rank
from lowrank_demo.nn.alexnet import LowRankAlexNet, LowRankLayer
from lowrank_demo.nn.nested import NestedAlexNet, Version, merged
from tests.helpers.small_alexnet import SMALL_LAYERS

RANKS = (5, 9, 8, 7, 6, 10, 9, 8)


@pytest.fixture(params=["scheme_1", "scheme_2"])
def network(request: pytest.FixtureRequest) -> LowRankAlexNet:
    torch.manual_seed(3)
    return LowRankAlexNet(request.param, RANKS, SMALL_LAYERS).eval()


def layer_of(network: LowRankAlexNet, key: str) -> LowRankLayer:
    layer = network.get_submodule(key)
    assert isinstance(layer, LowRankLayer)
    return layer


@torch.no_grad()
def test_the_dense_weight_does_what_both_factors_do(network: LowRankAlexNet) -> None:
    for layer in SMALL_LAYERS:
        pair = layer_of(network, layer.key)
        weight = dense_weight(pair)
        if layer.kind == "linear":
            x = torch.randn(2, layer.inputs)
            alone = F.linear(x, weight, pair.U.bias)
        else:
            x = torch.randn(2, layer.inputs, layer.in_size, layer.in_size)
            alone = F.conv2d(x, weight, pair.U.bias, layer.stride, layer.padding)
        torch.testing.assert_close(alone, pair(x), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_larger_ranks_compute_the_same_and_can_be_trained(network: LowRankAlexNet) -> None:
    grown = refactored(network, network.scheme, [rank + 3 for rank in RANKS]).eval()
    x = torch.randn(2, 3, 227, 227)
    torch.testing.assert_close(grown(x), network(x), rtol=1e-4, atol=1e-4)
    with torch.enable_grad():
        grown(x).square().sum().backward()
    for layer, rank in zip(SMALL_LAYERS, RANKS, strict=True):
        gradient = layer_of(grown, layer.key).U.weight.grad
        assert gradient is not None
        assert gradient[:, rank:].abs().sum() > 0, "the new components are not stuck at zero"


@torch.no_grad()
def test_full_ranks_of_the_other_scheme_compute_the_same(network: LowRankAlexNet) -> None:
    other = "scheme_1" if network.scheme == "scheme_2" else "scheme_2"
    ranks = [
        full_rank(layer, other) if layer.kind == "conv" else r for layer, r in zip(SMALL_LAYERS, RANKS, strict=True)
    ]
    x = torch.randn(2, 3, 227, 227)
    torch.testing.assert_close(refactored(network, other, ranks).eval()(x), network(x), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_smaller_ranks_are_the_nearest(network: LowRankAlexNet) -> None:
    smaller_ranks = [rank - 2 for rank in RANKS]
    smaller = refactored(network, network.scheme, smaller_ranks)
    for layer, rank in zip(SMALL_LAYERS, smaller_ranks, strict=True):
        before = dense_weight(layer_of(network, layer.key))
        error = float((dense_weight(layer_of(smaller, layer.key)) - before).norm())
        tail = torch.linalg.svdvals(_matrix(before, network.scheme))[rank:].norm()
        assert error == pytest.approx(float(tail), rel=1e-2)


@torch.no_grad()
def test_a_layer_truncated_to_nothing_gives_its_bias(network: LowRankAlexNet) -> None:
    made = truncated(network, [*RANKS[:-1], 0]).eval()
    logits = made(torch.randn(2, 3, 227, 227))
    torch.testing.assert_close(logits, network.get_parameter("classifier.8.U.bias").expand(2, 1000))
    whole = truncated(network, RANKS).eval()
    x = torch.randn(2, 3, 227, 227)
    torch.testing.assert_close(whole(x), network(x), rtol=1e-4, atol=1e-4)


def _matrix(weight: torch.Tensor, scheme: str) -> torch.Tensor:
    if weight.dim() == 2:
        return weight
    n, m, k1, k2 = weight.shape
    return (
        weight.reshape(n, m * k1 * k2) if scheme == "scheme_1" else weight.permute(0, 2, 1, 3).reshape(n * k1, m * k2)
    )


@torch.no_grad()
def test_ordered_components_change_no_version_and_make_a_cut_the_truncated_svd() -> None:
    torch.manual_seed(4)
    small, large = (
        Version("scheme_2", name, (*RANKS[:5], *ranks)) for name, ranks in (("v5", (6, 5, 4)), ("v1", (10, 9, 8)))
    )
    states = {one: LowRankAlexNet(one.scheme, one.ranks, SMALL_LAYERS).state_dict() for one in (small, large)}
    nested = NestedAlexNet([large, small], merged(states, SMALL_LAYERS), SMALL_LAYERS)
    x = torch.randn(2, 3, 227, 227)
    before = {one: nested.network_of(one).eval()(x) for one in nested.versions}
    key = next(layer.key for layer in SMALL_LAYERS if layer.kind == "linear")
    product = dense_weight(layer_of(nested.network_of(small), key))
    order_components(nested)
    for one, wanted in before.items():
        torch.testing.assert_close(nested.network_of(one).eval()(x), wanted, rtol=1e-4, atol=1e-5)
    left, s, right = torch.linalg.svd(product, full_matrices=False)
    pair = layer_of(nested.network_of(small), key)
    cut = pair.U.weight[:, :3] @ pair.V.weight[:3]
    torch.testing.assert_close(cut, left[:, :3] * s[:3] @ right[:3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pair.V.weight.norm(dim=1), s[:6], rtol=1e-4, atol=1e-5)
