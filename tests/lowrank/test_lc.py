"""The LC algorithm end to end on a small real problem: scikit-learn's digits, a three-layer network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowrank_demo.errors import TrainingDiverged
from lowrank_demo.lowrank.factors import factored, factorised
from lowrank_demo.lowrank.layers import Target, replace, survey
from lowrank_demo.lowrank.lc import LowRankPenalty, Selection, mu_schedule, run
from lowrank_demo.models.architecture import LAYERS, network_cost
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.nn.alexnet import DenseAlexNet, LowRankAlexNet
from lowrank_demo.settings import ASSETS
from tests.helpers.small_alexnet import SMALL_LAYERS

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from tests.helpers.digits import digits, error, learn


def make() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 60), nn.ReLU(), nn.Linear(60, 10))


def fit(network: nn.Module, epochs: int, lr: float, penalty=None, mu: float = 0.0, seed: int = 0) -> None:
    optimiser = torch.optim.SGD(network.parameters(), lr, momentum=0.9, nesterov=True)
    added = (lambda: penalty(mu)) if penalty is not None else None
    learn(network, optimiser, epochs, added, torch.Generator().manual_seed(seed))


def loss(network: nn.Module) -> float:
    x, y, _, _ = digits()
    with torch.no_grad():
        return float(F.cross_entropy(network(x), y))


@lru_cache(maxsize=1)
def reference() -> nn.Sequential:
    network = make()
    fit(network, 60, 0.1)
    return network


def targets_of(network: nn.Module) -> Mapping[str, Target]:
    return survey(network, torch.zeros(1, 64)).targets


def factor(network: nn.Module, factors: Mapping[str, tuple[Tensor, Tensor]]) -> nn.Module:
    """Return a copy of a network with these factors, in evaluation mode."""
    made = copy.deepcopy(network).eval()
    for name, (v, u) in factors.items():
        layer = made.get_submodule(name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        replace(made, name, factored(layer, v, u, "scheme_1"))
    return made


@lru_cache(maxsize=4)
def learned(lambda_: float, augmented: bool = True) -> tuple[nn.Module, dict[str, int], int, list[dict], float]:
    """The network at the learned ranks, these, its MACs, the ranks of each step and the distance W has kept from Δ."""
    network = copy.deepcopy(reference())
    penalty = LowRankPenalty(targets_of(network), Selection("scheme_1", lambda_), augmented=augmented)
    history = []

    def l_step(step: int, mu: float) -> None:
        # The rate falls with μ so that the penalty's own curvature stays stable.
        fit(network, 3, min(0.05, 0.9 / (1 + 10 * mu)), penalty, mu, seed=step)

    run(penalty, mu_schedule(3e-3, 1.25, 23), l_step, lambda step, mu: history.append(dict(penalty.ranks)))
    return factor(network, penalty.factors), penalty.ranks, penalty.macs(), history, penalty.distance()


def tuned(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network)
    fit(network, 15, 0.02)
    return network


def test_the_reference_is_good() -> None:
    assert error(reference()) < 0.05


def test_ranks_fall_as_lambda_grows_and_error_rises() -> None:
    macs, losses, errors = [], [], []
    for lambda_ in (0.002, 0.05, 1.2):
        network, ranks, cost, history, _ = learned(lambda_)
        network = tuned(network)
        assert all(rank >= 0 for rank in ranks.values())
        assert len(history) == 23
        macs.append(cost)
        losses.append(loss(network))
        errors.append(error(network))
    assert macs == sorted(macs, reverse=True)
    assert macs[0] > 1.5 * macs[-1]
    assert losses[0] < losses[-1]
    assert errors[0] <= errors[-1] + 0.005
    assert errors[0] < 0.06


def test_lc_beats_truncating_at_equal_flops() -> None:
    network, ranks, _, _, _ = learned(1.2)
    without = copy.deepcopy(reference())
    for name, target in targets_of(without).items():
        replace(without, name, factorised(target.module, "scheme_1", ranks[name]))
    assert loss(network) < 0.5 * loss(without), (ranks, loss(network), loss(without))
    assert error(network) < error(without), (error(network), error(without))


@pytest.mark.parametrize("augmented", [True, False])
def test_the_constraint_is_met_in_the_end(augmented: bool) -> None:
    _, _, _, _, distance = learned(0.05, augmented)
    assert distance < 0.05


def test_every_layer_of_alexnet_is_a_target() -> None:
    with torch.device("meta"):
        targets = survey(DenseAlexNet(), torch.zeros(1, 3, 227, 227)).targets
    assert list(targets) == [layer.key for layer in LAYERS]
    assert [target.positions for target in targets.values()] == [layer.out_size**2 for layer in LAYERS]


@pytest.mark.parametrize("card", read_zoo(ASSETS / "zoo.json").cards, ids=lambda card: card.id)
def test_the_penalty_counts_what_the_card_does(card: ModelCard) -> None:
    with torch.device("meta"):
        targets = survey(DenseAlexNet(), torch.zeros(1, 3, 227, 227)).targets
        penalty = LowRankPenalty(targets, Selection(card.scheme, normalised=False))
    penalty.ranks = dict(zip(targets, card.ranks, strict=True))
    cost = network_cost(card.scheme, card.ranks)
    assert penalty.macs() == cost.macs
    biases_and_normalisation = sum(layer.outputs for layer in LAYERS) + 2 * sum(layer.outputs for layer in LAYERS[:-1])
    assert penalty.storage() == cost.params - biases_and_normalisation


def test_the_original_cost_is_the_authors() -> None:
    """Rank x (rows + columns) x output positions; in truth, V of conv1 runs at 227 x 56 positions in scheme 2."""
    with torch.device("meta"):
        conv1 = survey(DenseAlexNet(), torch.zeros(1, 3, 227, 227)).targets["features.0"]
    assert conv1.unit_cost("scheme_2", "flops", "original") == (96 * 11 + 3 * 11) * 56 * 56
    assert conv1.unit_cost("scheme_2", "flops") == 96 * 11 * 56 * 56 + 3 * 11 * 227 * 56
    assert conv1.unit_cost("scheme_1", "flops") == conv1.unit_cost("scheme_1", "flops", "original")


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_a_factored_dense_alexnet_is_a_low_rank_alexnet(scheme: str) -> None:
    """Names, shapes and values: the factored network loads into the low-rank architecture and computes the same."""
    torch.manual_seed(3)
    dense = DenseAlexNet(SMALL_LAYERS)
    ranks = (3, 5, 6, 7, 8, 9, 10, 11)
    for layer, rank in zip(SMALL_LAYERS, ranks, strict=True):
        module = dense.get_submodule(layer.key)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        replace(dense, layer.key, factorised(module, scheme, rank))
    low_rank = LowRankAlexNet(scheme, ranks, SMALL_LAYERS)
    low_rank.load_state_dict(dense.state_dict())
    images = torch.randn(2, 3, 227, 227)
    with torch.inference_mode():
        torch.testing.assert_close(low_rank.eval()(images), dense.eval()(images), atol=1e-4, rtol=1e-4)


class Recorded(LowRankPenalty):
    """Notes its steps."""

    def __init__(self, done: list[str]) -> None:
        super().__init__(targets_of(make()), Selection("scheme_1", 0.05))
        self._done = done

    def c_step(self, mu: float) -> dict[str, int]:
        self._done.append(f"C {mu}")
        return super().c_step(mu)

    def multiplier_step(self, mu: float) -> None:
        self._done.append(f"M {mu}")
        super().multiplier_step(mu)


def test_every_step_ends_with_a_c_step_and_a_resumed_run_repeats_none() -> None:
    done: list[str] = []
    penalty = Recorded(done)

    def l_step(step: int, mu: float) -> None:
        done.append(f"L{step} {mu}")

    def end_step(step: int, mu: float) -> None:
        done.append(f"end {step}")

    # The reference is trained, so that the first step has no L step; M stays as it is while μ does.
    run(penalty, [1.0, 2.0, 2.0], l_step, end_step)
    first = ["C 1.0", "M 1.0", "end 0"]
    second, third = ["L1 2.0", "C 2.0", "end 1"], ["L2 2.0", "C 2.0", "M 2.0", "end 2"]
    assert done == first + second + third
    done.clear()
    run(penalty, [1.0, 2.0, 2.0], l_step, end_step, done=2)
    assert done == third


def test_a_schedule_grows_and_repeats() -> None:
    assert mu_schedule(1.0, 2.0, 3) == [1.0, 2.0, 4.0]
    assert mu_schedule(1.0, 2.0, 2, repeats=2) == [1.0, 1.0, 2.0, 2.0]


def test_the_last_c_step_keeps_what_the_last_l_step_learned() -> None:
    """A convolutional network: the factors from before the last L step do not fit its biases and normalisation."""
    torch.manual_seed(2)
    network = nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 10)),
    )
    fit(network, 8, 0.05)
    penalty = LowRankPenalty(targets_of(network), Selection("scheme_1", 1.0))
    compressed = {}

    def l_step(step: int, mu: float) -> None:
        fit(network, 2, 0.02, penalty, mu, seed=step)
        compressed["before"] = factor(network, penalty.factors)

    def end_step(step: int, mu: float) -> None:
        compressed["after"] = factor(network, penalty.factors)

    run(penalty, mu_schedule(0.1, 1.5, 4), l_step, end_step)
    assert loss(compressed["after"]) < 0.6 * loss(compressed["before"])
    assert error(compressed["after"]) < error(compressed["before"])


def test_the_factors_multiply_to_delta() -> None:
    network = copy.deepcopy(reference())
    penalty = LowRankPenalty(targets_of(network), Selection("scheme_1", 0.6))
    ranks = penalty.c_step(3e-3)
    for name, (v, u) in penalty.factors.items():
        assert v.shape[0] == max(ranks[name], 1)
        torch.testing.assert_close(u @ v, penalty.delta[name], atol=1e-5, rtol=1e-4)


def test_distance_and_cost_against_numpy() -> None:
    """At μ so small that one layer of the digits' network is dropped: it still costs one component."""
    network = make()
    penalty = LowRankPenalty(targets_of(network), Selection("scheme_1", 0.6))
    ranks = penalty.c_step(1e-3)
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    assert 0 in ranks.values()
    expected = sum(max(ranks[name], 1) * (layer.in_features + layer.out_features) for name, layer in layers.items())
    assert penalty.macs() == penalty.storage() == expected
    weights = {name: layer.weight.detach().numpy() for name, layer in layers.items()}
    apart = np.concatenate([(weight - penalty.delta[name].numpy()).ravel() for name, weight in weights.items()])
    whole = np.concatenate([weight.ravel() for weight in weights.values()])
    assert penalty.distance() == pytest.approx(np.linalg.norm(apart) / np.linalg.norm(whole), rel=1e-5)
    price = sum(
        0.6e-6 * rank * (layers[name].in_features + layers[name].out_features) * (weights[name] ** 2).sum()
        for name, rank in ranks.items()
    )
    assert penalty.price() == pytest.approx(price, rel=1e-5)


def test_a_loaded_state_continues_where_it_was() -> None:
    network = copy.deepcopy(reference())
    targets = targets_of(network)
    first = LowRankPenalty(targets, Selection("scheme_1", 0.05))
    first.c_step(0.01)
    first.multiplier_step(0.01)
    fit(network, 1, 0.01, first, 0.01)
    second = LowRankPenalty(targets, Selection("scheme_1", 0.05))
    second.load(copy.deepcopy(first.state()))
    assert torch.equal(second(0.02), first(0.02))
    assert second.c_step(0.02) == first.c_step(0.02)


def test_a_first_look_in_inference_mode_does_not_stop_the_l_step() -> None:
    network = make()
    penalty = LowRankPenalty(targets_of(network), Selection("scheme_1", 0.05))
    penalty.c_step(0.01)
    with torch.inference_mode():
        looked = float(penalty(0.01))
    loss = penalty(0.01)
    loss.backward()
    assert float(loss.detach()) == looked
    assert all(layer.weight.grad is not None for layer in network if isinstance(layer, nn.Linear))


def test_sums_over_float16_weights_are_finite_and_right() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(1024, 1024, bias=False).half()
    layer.weight.data.normal_()
    penalty = LowRankPenalty({"0": Target(layer, 1, 1)}, Selection("scheme_1"))
    penalty.delta["0"].zero_()
    weight = layer.weight.detach().double()
    assert float(penalty(2.0).detach()) == pytest.approx(float((weight**2).sum()), rel=1e-4)
    assert penalty.distance() == pytest.approx(1)
    penalty.multiplier_step(2.0)
    torch.testing.assert_close(penalty.multipliers["0"].double(), -2 * weight)
    penalty(2.0).backward()
    assert layer.weight.grad is not None
    # μ · (W − Δ − M/μ), where M is −μW.
    torch.testing.assert_close(layer.weight.grad.double(), 4 * weight, rtol=1e-3, atol=1e-3)
    assert penalty.c_step(2.0) == {"0": 1024}
    assert penalty.delta["0"].dtype == torch.float16


def test_weights_that_are_not_finite_are_one_sentence() -> None:
    network = make()
    network.get_parameter("2.weight").data[0, 0] = float("nan")
    penalty = LowRankPenalty(targets_of(network), Selection("scheme_1", 0.05))
    with pytest.raises(TrainingDiverged, match=r"The weights of 2 are no longer finite; lower the learning rate"):
        penalty.c_step(1.0)
