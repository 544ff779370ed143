"""The LC algorithm end to end on a small real problem: scikit-learn's digits, a three-layer network."""

from __future__ import annotations

import copy
from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowrank_demo.lowrank.lc import LowRankPenalty, decompose, mu_schedule, targets_of
from lowrank_demo.models.architecture import LAYERS
from lowrank_demo.nn.alexnet import DenseAlexNet, LowRankAlexNet

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


def compress(lambda_: float, *, augmented: bool = True, tune: int = 15):
    network = copy.deepcopy(reference())
    targets = targets_of(network, torch.zeros(1, 64))
    penalty = LowRankPenalty(targets, scheme="scheme_1", lambda_=lambda_, augmented=augmented)
    history = []
    for step, mu in enumerate(mu_schedule(3e-3, 1.25, 22)):
        history.append(penalty.c_step(mu))
        # The rate falls with μ so that the penalty's own curvature stays stable.
        fit(network, 3, min(0.05, 0.9 / (1 + 10 * mu)), penalty, mu, seed=step)
    ranks = penalty.c_step(mu_schedule(3e-3, 1.25, 23)[-1])
    distance = penalty.distance()
    macs = penalty.macs()
    for name, target in targets.items():
        target.module.weight.data.copy_(penalty.delta[name])
    decompose(network, ranks, "scheme_1")
    fit(network, tune, 0.02)
    return network, ranks, macs, history, distance


def truncated(ranks: dict[str, int], tune: int) -> nn.Module:
    network = copy.deepcopy(reference())
    decompose(network, ranks, "scheme_1")
    fit(network, tune, 0.02)
    return network


def test_the_reference_is_good() -> None:
    assert error(reference()) < 0.05


def test_ranks_fall_as_lambda_grows_and_error_rises() -> None:
    macs, losses, errors = [], [], []
    for lambda_ in (0.002, 0.05, 0.6):
        network, ranks, cost, history, _ = compress(lambda_)
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
    network, ranks, _, _, _ = compress(0.6, tune=0)
    without = truncated(ranks, tune=0)
    assert loss(network) < 0.5 * loss(without), (ranks, loss(network), loss(without))
    assert error(network) < error(without), (error(network), error(without))


@pytest.mark.parametrize("augmented", [True, False])
def test_the_constraint_is_met_in_the_end(augmented: bool) -> None:
    _, _, _, _, distance = compress(0.05, augmented=augmented)
    assert distance < 0.05


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_a_compressed_dense_alexnet_is_a_low_rank_alexnet(scheme: str) -> None:
    """Names, shapes and values: the factored network loads into the released architecture and computes the same."""
    torch.manual_seed(3)
    dense = DenseAlexNet()
    targets = targets_of(dense, torch.zeros(1, 3, 227, 227))
    assert list(targets) == [layer.key for layer in LAYERS]
    assert [target.positions for target in targets.values()] == [layer.out_size**2 for layer in LAYERS]
    ranks = dict(zip(targets, (3, 5, 6, 7, 8, 9, 10, 11), strict=True))
    released = LowRankAlexNet(scheme, list(ranks.values()))
    # The decomposition of the two large layers takes long: they get the product of the factors instead.
    large = ("classifier.0", "classifier.4")
    for name in large:
        pair, layer = released.get_submodule(name), targets[name].module
        layer.weight.data = pair.get_parameter("U.weight").detach() @ pair.get_parameter("V.weight").detach()
        assert layer.bias is not None
        layer.bias.data = pair.get_parameter("U.bias").detach().clone()
    decompose(dense, {name: rank for name, rank in ranks.items() if name not in large}, scheme)
    state = {k: v for k, v in dense.state_dict().items() if not k.startswith(tuple(f"{name}." for name in large))}
    missing, unexpected = released.load_state_dict(state, strict=False)
    assert unexpected == []
    assert all(key.startswith(large) for key in missing)
    images = torch.randn(2, 3, 227, 227)
    with torch.inference_mode():
        torch.testing.assert_close(released.eval()(images), dense.eval()(images), atol=1e-4, rtol=1e-4)


def test_state_goes_on_where_it_was() -> None:
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
