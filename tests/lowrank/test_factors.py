"""Any layer in two: it computes the same at full rank, and costs what is counted."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lowrank_demo.lowrank.factors import factorised, product_energy
from lowrank_demo.lowrank.layers import survey

LAYERS = {
    "plain": nn.Conv2d(3, 8, 3, padding=1),
    "stride": nn.Conv2d(3, 8, 3, stride=(2, 3), padding=(1, 2)),
    "oblong": nn.Conv2d(3, 8, (3, 5), padding=(2, 1), bias=False),
    "same": nn.Conv2d(3, 8, (4, 3), padding="same"),
    "same, dilated": nn.Conv2d(3, 8, (2, 3), padding="same", dilation=(3, 2)),
    "valid": nn.Conv2d(3, 8, 3, padding="valid"),
    "dilated": nn.Conv2d(3, 8, 3, padding=2, dilation=2, stride=2),
    "circular": nn.Conv2d(3, 8, 3, padding=(2, 1), padding_mode="circular"),
    "circular, same": nn.Conv2d(3, 8, (4, 3), padding="same", padding_mode="circular"),
    "reflect": nn.Conv2d(3, 8, 5, padding=2, padding_mode="reflect", stride=2),
    "replicate": nn.Conv2d(3, 8, 5, padding=2, padding_mode="replicate"),
    "linear": nn.Linear(12, 8),
    "linear without bias": nn.Linear(8, 12, bias=False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_factored_layer_computes_the_same_and_costs_what_is_counted(
    kind: str, scheme: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(1)
    layer = copy.deepcopy(LAYERS[kind]).to(dtype)
    x = torch.randn(2, 3, 11, 13) if isinstance(layer, nn.Conv2d) else torch.randn(2, 5, layer.in_features)
    x = x.to(dtype)
    network = nn.Sequential(layer)
    target = survey(network, x).targets["0"]
    full = target.full_rank(scheme)
    pair = factorised(layer, scheme, full)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(pair(x), layer(x), atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(pair.weight, layer.weight, atol=tolerance, rtol=tolerance)
    assert (pair.bias is None) == (layer.bias is None)
    assert {parameter.dtype for parameter in pair.parameters()} == {dtype}

    # What the modules V and U compute, by hooks on each.
    parts = survey(nn.Sequential(factorised(layer, scheme, 2)), x).targets
    assert sum(part.dense_cost("flops") for part in parts.values()) == 2 * target.unit_cost(scheme, "flops")
    assert sum(part.dense_cost("storage") for part in parts.values()) == 2 * target.unit_cost(scheme, "storage")


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, (3, 5)), nn.Linear(12, 8)])
def test_the_energy_of_a_product_is_that_of_its_weight(layer: nn.Conv2d | nn.Linear, scheme: str) -> None:
    pair = factorised(layer, scheme, 3)
    energy = product_energy(pair.V.weight, pair.U.weight)
    torch.testing.assert_close(energy, (pair.weight**2).sum())
    assert energy.requires_grad


def test_factors_have_the_sizes_of_the_layer() -> None:
    linear = factorised(nn.Linear(8, 6), "scheme_1", 2)
    assert (linear.in_features, linear.out_features) == (8, 6)
    for scheme in ("scheme_1", "scheme_2"):
        convolution = factorised(nn.Conv2d(8, 6, 3), scheme, 2)
        assert (convolution.in_channels, convolution.out_channels) == (8, 6)
