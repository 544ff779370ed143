"""Projection on the outputs of a layer, and the fit of U, against optima computed by NumPy and plain truncation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from lowrank_demo.lowrank.c_step import to_matrix
from lowrank_demo.lowrank.calibration import calibrated, measure_statistics
from lowrank_demo.lowrank.refactor import dense_weight, refactored
from lowrank_demo.nn.alexnet import LowRankAlexNet, LowRankLayer
from tests.helpers.small_alexnet import SMALL_LAYERS

GIVEN = (12, 10, 10, 10, 10, 24, 16, 12)
LOWER = (5, 4, 6, 6, 6, 24, 8, 20)


@pytest.fixture(scope="module")
def network() -> LowRankAlexNet:
    torch.manual_seed(0)
    return LowRankAlexNet("scheme_2", GIVEN, SMALL_LAYERS).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    # Smooth, as photos are: then inputs have principal directions that the weights of a layer do not tell.
    torch.manual_seed(1)
    return torch.nn.functional.interpolate(torch.randn(4, 3, 12, 12), (227, 227), mode="bilinear")


@pytest.fixture(scope="module", params=["scheme_1", "scheme_2"])
def made(request: pytest.FixtureRequest, network: LowRankAlexNet, images: torch.Tensor) -> LowRankAlexNet:
    return calibrated(network, request.param, LOWER, images)


@torch.no_grad()
def test_first_v_keeps_the_main_directions_of_the_outputs(
    network: LowRankAlexNet, images: torch.Tensor, made: LowRankAlexNet
) -> None:
    scheme = made.scheme
    assert made.ranks == LOWER
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
    main = np.linalg.svd(centred @ centred.T)[0][:, : LOWER[0]]
    wanted = np.linalg.qr((main.T @ matrix).T)[0]
    found = after.V.weight.flatten(1).double().numpy().T
    assert np.linalg.norm(found - wanted @ (wanted.T @ found)) < 1e-3 * np.linalg.norm(found)


@torch.no_grad()
def test_second_layer_is_fitted_to_what_the_whole_network_computes(
    network: LowRankAlexNet, images: torch.Tensor, made: LowRankAlexNet
) -> None:
    pair = made.features[4]
    assert isinstance(pair, LowRankLayer)
    assert isinstance(pair.U, torch.nn.Conv2d)
    inputs = made.features[:4](images)
    tall = (pair.U.kernel_size[0], 1)
    seen = torch.nn.functional.unfold(pair.V(inputs), tall, padding=(tall[0] // 2, 0))
    seen = torch.cat([seen, torch.ones_like(seen[:, :1])], 1).transpose(0, 1).flatten(1).double().numpy()
    wanted = network.features[:5](images).transpose(0, 1).flatten(1).double().numpy()
    best, *_ = np.linalg.lstsq(seen.T, wanted.T, rcond=None)
    lost = ((best.T @ seen - wanted) ** 2).sum()
    found = pair(inputs).transpose(0, 1).flatten(1).double().numpy()
    assert ((found - wanted) ** 2).sum() == pytest.approx(lost, rel=1e-3)


@torch.no_grad()
def test_it_answers_more_like_the_network_than_truncation_does(network: LowRankAlexNet, images: torch.Tensor) -> None:
    network = calibrated(network, "scheme_2", GIVEN, images)  # with batch statistics that are its own
    wanted = network(images)
    plain = refactored(network, "scheme_1", LOWER).eval()(images)
    kept = calibrated(network, "scheme_1", LOWER, images)(images)

    def angle(found: torch.Tensor) -> float:
        one, other = (t - t.mean(0) for t in (found, wanted))  # what tells one image from another
        return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))

    assert kept.shape == wanted.shape
    assert angle(kept) > angle(plain)


@torch.no_grad()
def test_ranks_that_stay_change_nothing_but_the_statistics(network: LowRankAlexNet, images: torch.Tensor) -> None:
    made = calibrated(network, "scheme_2", GIVEN, images)
    for name, value in network.state_dict().items():
        if "running" not in name:
            assert torch.equal(made.state_dict()[name], value), name
    outputs = network.features[0](images)
    torch.testing.assert_close(made.features[1].running_mean, outputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.features[1].running_var, outputs.var((0, 2, 3)), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_with_a_basis_v_is_its_first_components_and_u_is_fitted_to_them(
    network: LowRankAlexNet, images: torch.Tensor
) -> None:
    wide = calibrated(network, "scheme_1", (8, 8, 8, 8, 8, 24, 16, 12), images)
    made = calibrated(network, "scheme_1", LOWER, images, wide)
    truncated = refactored(wide, "scheme_1", LOWER)
    original = network.features[0](images)
    for number in (0, 4, 8, 11, 14):
        narrow, own = made.get_submodule(f"features.{number}"), wide.get_submodule(f"features.{number}")
        assert isinstance(narrow, LowRankLayer)
        assert isinstance(own, LowRankLayer)
        assert torch.equal(narrow.V.weight, own.V.weight[: len(narrow.V.weight)])

    def error(one: LowRankAlexNet) -> float:
        return float((one.features[0](images) - original).norm())

    assert error(made) < error(truncated)


@torch.no_grad()
def test_statistics_are_those_of_all_images_whatever_their_order_and_number(network: LowRankAlexNet) -> None:
    # Two sources, one after the other, as in a file; one image more than a batch.
    torch.manual_seed(2)
    dark, bright = torch.randn(65, 3, 1, 1) - 3, torch.randn(64, 3, 1, 1) + 3
    images = torch.cat([dark, bright]).expand(-1, -1, 227, 227) + 0.1 * torch.randn(1, 3, 227, 227)
    measured = copy.deepcopy(network)
    measure_statistics(measured, images)
    norm = measured.features[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    outputs = measured.features[0](images)
    variance, mean = torch.var_mean(outputs, (0, 2, 3))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, mean, rtol=0.1, atol=0.05 * variance.sqrt().max().item())
    torch.testing.assert_close(norm.running_var, variance, rtol=0.1, atol=0.0)
