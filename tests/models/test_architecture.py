"""Costs from the ranks alone, against the published table and torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lowrank_demo.models.architecture import DENSE_MACS, LAYERS, network_cost
from lowrank_demo.nn.alexnet import LowRankAlexNet

EXACT = {
    ("scheme_1", "v1"): 436.75,
    ("scheme_1", "v2"): 257.33,
    ("scheme_1", "v3"): 248.35,
    ("scheme_1", "v4"): 231.45,
    ("scheme_2", "v1"): 321.19,
    ("scheme_2", "v2"): 226.47,
    ("scheme_2", "v3"): 184.71,
    ("scheme_2", "v4"): 166.36,
    ("scheme_2", "v5"): 151.53,
}


def test_totals_are_the_published_ones(published_models: list[dict]) -> None:
    assert len(published_models) == 9
    for model in published_models:
        macs = network_cost(model["scheme"], model["ranks"]).macs / 1e6
        assert abs(macs - model["mflops"]) <= 1
        assert round(macs, 2) == EXACT[model["scheme"], model["version"]]


def test_totals_and_every_factor_equal_torch(published_models: list[dict]) -> None:
    for model in published_models:
        cost = network_cost(model["scheme"], model["ranks"])
        with torch.device("meta"):
            network = LowRankAlexNet(model["scheme"], model["ranks"]).eval()
            counter = FlopCounterMode(display=False, depth=4)
            with counter:
                network(torch.empty(1, 3, 227, 227))
        assert counter.get_total_flops() == 2 * cost.macs
        counts = counter.get_flop_counts()
        for layer in cost.layers:
            for factor in (layer.v, layer.u):
                counted = sum(counts[f"LowRankAlexNet.{layer.layer.key}.{factor.name}"].values())
                assert counted == 2 * factor.macs
        assert cost.params == sum(p.numel() for p in network.parameters())
        assert cost.fp32_bytes == sum(t.numel() * t.element_size() for t in network.state_dict().values())


def test_dense_reference() -> None:
    assert round(DENSE_MACS / 1e6, 2) == 1139.12
    assert [layer.out_size for layer in LAYERS[:5]] == [56, 27, 13, 13, 13]


def test_wrong_number_of_ranks() -> None:
    with pytest.raises(ValueError, match="zip"):
        network_cost("scheme_1", [1, 2, 3])
