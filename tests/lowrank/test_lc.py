"""The LC algorithm end to end on a small real problem: scikit-learn's digits, a three-layer network."""

from __future__ import annotations

import copy
from functools import lru_cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowrank_demo.lowrank.lc import LowRankPenalty, decompose, mu_schedule, run, targets_of
from lowrank_demo.models.architecture import LAYERS
from lowrank_demo.nn.alexnet import DenseAlexNet, LowRankAlexNet
from tests.helpers.small_alexnet import SMALL_LAYERS

datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")


@lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = datasets.load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return x[:1200], y[:1200], x[1200:], y[1200:]


def make() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 60), nn.ReLU(), nn.Linear(60, 10))


def fit(network: nn.Module, epochs: int, lr: float, penalty=None, mu: float = 0.0, seed: int = 0) -> None:
    x, y, _, _ = digits()
    optimiser = torch.optim.SGD(network.parameters(), lr, momentum=0.9, nesterov=True)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(100):
            loss = F.cross_entropy(network(x[batch]), y[batch])
            if penalty is not None:
                loss = loss + penalty(mu)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def error(network: nn.Module) -> float:
    _, _, x, y = digits()
    with torch.no_grad():
        return float((network(x).argmax(1) != y).float().mean())


def loss(network: nn.Module) -> float:
    x, y, _, _ = digits()
    with torch.no_grad():
        return float(F.cross_entropy(network(x), y))


@lru_cache(maxsize=1)
def reference() -> nn.Sequential:
    network = make()
    fit(network, 60, 0.1)
    return network


@lru_cache(maxsize=4)
def learned(lambda_: float, augmented: bool = True) -> tuple[nn.Module, dict[str, int], int, list[dict], float]:
    """The network at the learned ranks, these, its MACs, the ranks of each step and the distance W has kept from Δ."""
    network = copy.deepcopy(reference())
    targets = targets_of(network, torch.zeros(1, 64))
    penalty = LowRankPenalty(targets, scheme="scheme_1", lambda_=lambda_, augmented=augmented)
    history = []

    def l_step(step: int, mu: float) -> None:
        history.append(dict(penalty.ranks))
        # The rate falls with μ so that the penalty's own curvature stays stable.
        fit(network, 3, min(0.05, 0.9 / (1 + 10 * mu)), penalty, mu, seed=step)

    run(penalty, mu_schedule(3e-3, 1.25, 22), l_step)
    ranks = penalty.c_step(mu_schedule(3e-3, 1.25, 23)[-1])
    distance = penalty.distance()
    macs = penalty.macs()
    for name, target in targets.items():
        target.module.weight.data.copy_(penalty.delta[name])
    decompose(network, ranks, "scheme_1")
    return network, ranks, macs, history, distance


def tuned(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network)
    fit(network, 15, 0.02)
    return network


def test_the_reference_is_good() -> None:
    assert error(reference()) < 0.05


def test_ranks_fall_as_lambda_grows_and_error_rises() -> None:
    macs, losses, errors = [], [], []
    for lambda_ in (0.002, 0.05, 0.6):
        network, ranks, cost, history, _ = learned(lambda_)
        network = tuned(network)
        assert all(rank >= 0 for rank in ranks.values())
        assert len(history) == 22
        macs.append(cost)
        losses.append(loss(network))
        errors.append(error(network))
    assert macs == sorted(macs, reverse=True)
    assert macs[0] > 1.5 * macs[-1]
    assert losses[0] < losses[-1]
    assert errors[0] <= errors[-1] + 0.005
    assert errors[0] < 0.06


def test_lc_beats_truncating_at_equal_flops() -> None:
    network, ranks, _, _, _ = learned(0.6)
    without = copy.deepcopy(reference())
    decompose(without, ranks, "scheme_1")
    assert loss(network) < 0.5 * loss(without), (ranks, loss(network), loss(without))
    assert error(network) < error(without), (error(network), error(without))


@pytest.mark.parametrize("augmented", [True, False])
def test_the_constraint_is_met_in_the_end(augmented: bool) -> None:
    _, _, _, _, distance = learned(0.05, augmented)
    assert distance < 0.05


def test_every_layer_of_alexnet_is_a_target() -> None:
    with torch.device("meta"):
        targets = targets_of(DenseAlexNet(), torch.zeros(1, 3, 227, 227))
    assert list(targets) == [layer.key for layer in LAYERS]
    assert [target.positions for target in targets.values()] == [layer.out_size**2 for layer in LAYERS]


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_a_compressed_dense_alexnet_is_a_low_rank_alexnet(scheme: str) -> None:
    """Names, shapes and values: the factored network loads into the low-rank architecture and computes the same."""
    torch.manual_seed(3)
    dense = DenseAlexNet(SMALL_LAYERS)
    ranks = dict(zip((layer.key for layer in SMALL_LAYERS), (3, 5, 6, 7, 8, 9, 10, 11), strict=True))
    decompose(dense, ranks, scheme)
    low_rank = LowRankAlexNet(scheme, list(ranks.values()), SMALL_LAYERS)
    low_rank.load_state_dict(dense.state_dict())
    images = torch.randn(2, 3, 227, 227)
    with torch.inference_mode():
        torch.testing.assert_close(low_rank.eval()(images), dense.eval()(images), atol=1e-4, rtol=1e-4)


def test_the_steps_alternate_and_a_resumed_run_repeats_no_c_step() -> None:
    class Steps(LowRankPenalty):
        def c_step(self, mu: float) -> dict[str, int]:
            done.append(("C", mu))
            return super().c_step(mu)

    done: list[tuple[str, float]] = []
    penalty = Steps(targets_of(make(), torch.zeros(1, 64)), scheme="scheme_1", lambda_=0.05)
    run(penalty, [1.0, 2.0], lambda step, mu: done.append((f"L{step}", mu)))
    assert done == [("C", 1.0), ("L0", 1.0), ("C", 2.0), ("L1", 2.0)]
    done.clear()
    run(penalty, [1.0, 2.0, 3.0], lambda step, mu: done.append((f"L{step}", mu)), c_steps_done=2)
    assert done == [("L0", 1.0), ("L1", 2.0), ("C", 3.0), ("L2", 3.0)]


def test_the_factors_multiply_to_delta() -> None:
    network = copy.deepcopy(reference())
    penalty = LowRankPenalty(targets_of(network, torch.zeros(1, 64)), scheme="scheme_1", lambda_=0.6)
    ranks = penalty.c_step(3e-3)
    for name, (v, u) in penalty.factors.items():
        assert v.shape[0] == max(ranks[name], 1)
        torch.testing.assert_close(u @ v, penalty.delta[name], atol=1e-5, rtol=1e-4)


def test_distance_and_cost_against_numpy() -> None:
    """At μ so small that one layer of the digits' network is dropped: it still costs one component."""
    network = make()
    penalty = LowRankPenalty(targets_of(network, torch.zeros(1, 64)), scheme="scheme_1", lambda_=0.6)
    ranks = penalty.c_step(1e-3)
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    assert 0 in ranks.values()
    expected = sum(max(ranks[name], 1) * (layer.in_features + layer.out_features) for name, layer in layers.items())
    assert penalty.macs() == expected
    weights = {name: layer.weight.detach().numpy() for name, layer in layers.items()}
    apart = np.concatenate([(weight - penalty.delta[name].numpy()).ravel() for name, weight in weights.items()])
    whole = np.concatenate([weight.ravel() for weight in weights.values()])
    assert penalty.distance() == pytest.approx(np.linalg.norm(apart) / np.linalg.norm(whole), rel=1e-5)


def test_a_loaded_state_continues_where_it_was() -> None:
    network = copy.deepcopy(reference())
    targets = targets_of(network, torch.zeros(1, 64))
    first = LowRankPenalty(targets, scheme="scheme_1", lambda_=0.05)
    first.c_step(0.01)
    fit(network, 1, 0.01, first, 0.01)
    second = LowRankPenalty(targets, scheme="scheme_1", lambda_=0.05)
    second.load(copy.deepcopy(first.state()))
    assert second.c_step(0.02) == first.c_step(0.02)
    assert torch.equal(second(0.02), first(0.02))


def test_grouped_convolutions_are_refused() -> None:
    with pytest.raises(ValueError, match="grouped"):
        targets_of(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), torch.zeros(1, 4, 8, 8))
