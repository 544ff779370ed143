"""Projection on a layer's outputs against the optimum computed by NumPy, and against plain truncation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowrank_demo.nn.alexnet import LowRankAlexNet, LowRankLayer
from lowrank_demo.nn.calibration import calibrated
from lowrank_demo.nn.rank_selection import to_matrix
from lowrank_demo.nn.refactor import dense_weight, refactored

LARGE = (12, 10, 10, 10, 10, 24, 16, 12)
SMALL = (5, 4, 6, 6, 6, 24, 8, 20)


@pytest.fixture(scope="module")
def network() -> LowRankAlexNet:
    torch.manual_seed(0)
    return LowRankAlexNet("scheme_2", LARGE).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    # Smooth, as photos are: then inputs have main directions that a layer's weights know nothing of.
    torch.manual_seed(1)
    return torch.nn.functional.interpolate(torch.randn(4, 3, 12, 12), (227, 227), mode="bilinear")


@torch.no_grad()
@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_the_first_layer_is_the_optimum(network: LowRankAlexNet, images: torch.Tensor, scheme: str) -> None:
    made = calibrated(network, scheme, SMALL, images)
    assert (made.scheme, made.ranks) == (scheme, SMALL)
    before, after = network.get_submodule("features.0"), made.get_submodule("features.0")
    assert isinstance(before, LowRankLayer)
    assert isinstance(after, LowRankLayer)
    matrix = to_matrix(dense_weight(before), scheme).double().numpy()
    assert isinstance(after.V, torch.nn.Conv2d)
    assert not isinstance(after.V.padding, str)
    kernel = tuple(after.V.weight.shape[2:])
    patches = torch.nn.functional.unfold(images, kernel, padding=after.V.padding, stride=after.V.stride)
    outputs = matrix @ patches.transpose(0, 1).flatten(1).double().numpy()
    centred = outputs - outputs.mean(1, keepdims=True)
    lost = np.linalg.svd(centred @ centred.T, compute_uv=False)[SMALL[0] :].sum()
    cut = to_matrix(dense_weight(after), scheme).double().numpy()
    difference = (cut - matrix) @ (patches - patches.mean((0, 2), keepdim=True)).transpose(0, 1).flatten(
        1
    ).double().numpy()
    assert (difference**2).sum() == pytest.approx(lost, rel=1e-3)


@torch.no_grad()
def test_it_answers_more_like_the_network_than_truncation_does(network: LowRankAlexNet, images: torch.Tensor) -> None:
    network = calibrated(network, "scheme_2", LARGE, images)  # with batch statistics that are its own
    wanted = network(images)
    plain = refactored(network, "scheme_1", SMALL).eval()(images)
    kept = calibrated(network, "scheme_1", SMALL, images)(images)

    def angle(found: torch.Tensor) -> float:
        one, other = (t - t.mean(0) for t in (found, wanted))  # what tells one image from another
        return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))

    assert kept.shape == wanted.shape
    assert angle(kept) > angle(plain)


@torch.no_grad()
def test_ranks_that_stay_change_nothing_but_the_statistics(network: LowRankAlexNet, images: torch.Tensor) -> None:
    made = calibrated(network, "scheme_2", LARGE, images)
    for name, value in network.state_dict().items():
        if "running" not in name:
            assert torch.equal(made.state_dict()[name], value), name
    outputs = network.features[0](images)
    torch.testing.assert_close(made.features[1].running_mean, outputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.features[1].running_var, outputs.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
