"""``compress`` on networks that are not AlexNet: the examples, and what it promises of each argument."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowrank_demo.errors import TrainingDiverged, UsageError
from lowrank_demo.lowrank import compress
from lowrank_demo.lowrank.layers import survey
from lowrank_demo.lowrank.lc import LowRankPenalty, Selection

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from tests.lowrank.examples import resnet18, transformer

X = torch.zeros(1, 20)
SCHEDULE = [0.1, 0.2, 0.4]


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 5))


MACS = 20 * 30 + 30 * 30 + 30 * 5


def closer(model: nn.Module, penalty: Callable[[], Tensor], step: int) -> None:
    """An L step without a loss: the weights follow the penalty."""
    optimiser = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(10):
        optimiser.zero_grad()
        penalty().backward()
        optimiser.step()


def test_a_residual_network_meets_a_target_and_keeps_its_error() -> None:
    result = resnet18.main()
    found = result.found
    assert all(step.macs <= 300_000 for step in found.history)
    assert found.macs == found.history[-1].macs > 270_000
    counted = survey(found.network, torch.zeros(1, 1, 8, 8))
    macs = counted.other_macs + sum(target.dense_cost("flops") for target in counted.targets.values())
    assert macs == found.macs, "what its modules compute"
    assert found.left_alone["conv1"] == "excluded"
    assert all(rank % 2 == 0 for rank in found.ranks.values())
    assert {name.rpartition(".")[0] for name in found.ranks} >= {"layer1.0", "layer4.1"}
    assert result.reference < 0.08
    assert result.compressed < result.reference + 0.03
    assert result.finetuned < result.reference + 0.02


def test_a_transformer_keeps_its_error_at_a_third_of_its_macs() -> None:
    result = transformer.main()
    assert result.found.macs < 0.35 * 198_976
    assert {"blocks.0.query", "blocks.1.up", "blocks.1.down"} <= result.found.ranks.keys()
    assert result.reference < 0.06
    assert result.compressed < result.reference + 0.02


def test_without_a_price_nothing_is_changed() -> None:
    model = network()
    found = compress(model, closer, X, lambda_=0, schedule=SCHEDULE)
    x = torch.randn(6, 20)
    torch.testing.assert_close(found.network(x), model(x), atol=1e-5, rtol=1e-5)
    assert found.ranks == {}
    assert set(found.left_alone.values()) == {"factoring does not pay"}
    assert found.macs == MACS


def test_the_given_model_is_left_as_it_was_and_steps_are_counted() -> None:
    model, seen = network(), []
    before = [parameter.clone() for parameter in model.parameters()]

    def train(copied: nn.Module, penalty: Callable[[], Tensor], step: int) -> None:
        assert copied is not model
        assert penalty().requires_grad
        seen.append(step)
        closer(copied, penalty, step)

    found = compress(model, train, X, lambda_=100, schedule=SCHEDULE)
    assert seen == [1, 2]
    assert [(step.step, step.mu, step.lambda_) for step in found.history] == [
        (0, 0.1, 100),
        (1, 0.2, 100),
        (2, 0.4, 100),
    ]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    last = found.history[-1]
    assert found.ranks == {name: rank for name, rank in last.ranks.items() if name not in found.left_alone}
    assert last.storage == last.macs, "each layer is applied once"


class Keeps(nn.Module):
    """Keeps a tensor of its last forward, as networks do whose attention is to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = network()
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.layers(x)
        return self.norm(self.last)


def train_on_noise(model: nn.Module, penalty: Callable[[], Tensor], step: int) -> None:
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model.train()
    for _ in range(3):
        loss = model(torch.ones(4, 20)).square().sum() + penalty()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_a_network_that_keeps_a_tensor_is_compressed_and_no_training_is_lost() -> None:
    for measure in (None, lambda model: float(model(torch.ones(4, 20)).detach().sum())):
        found = compress(Keeps(), train_on_noise, X, target_macs=1_000, schedule=SCHEDULE, measure=measure)
        assert found.macs <= 1_000
        assert [step.measured is None for step in found.history] == 3 * [measure is None]


def fill(model: nn.Module) -> None:
    model.train()(torch.randn(4, 20))
    for parameter in model.parameters():
        parameter.data.fill_(7)


@pytest.mark.parametrize(
    "change", [fill, lambda model: model.eval().double(), lambda model: model.requires_grad_(False)]
)
def test_measuring_leaves_no_trace(change: Callable[[nn.Module], object]) -> None:
    """Not even a measure that changes weights, statistics, mode, dtype or training of what it is given."""

    def measure(model: nn.Module) -> float:
        change(model)
        return 1.0

    torch.manual_seed(3)
    plain = compress(Keeps(), train_on_noise, X, target_macs=1_000, schedule=SCHEDULE)
    measured = compress(Keeps(), train_on_noise, X, target_macs=1_000, schedule=SCHEDULE, measure=measure)
    assert [step.distance for step in measured.history] == [step.distance for step in plain.history]
    other = measured.network.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in plain.network.state_dict().items())
    assert all(parameter.requires_grad for parameter in measured.network.parameters())


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_cannot_be_copied_is_one_sentence() -> None:
    kept = Keeps()
    kept(torch.ones(4, 20))
    normed = nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(20, 30)), nn.Linear(30, 5))
    normed(X)
    for model in (kept, normed):
        with pytest.raises(UsageError, match=r"The model cannot be copied \(Only Tensors .*; expected one that"):
            compress(model, closer, X, lambda_=1)
    with torch.no_grad():
        kept(torch.ones(4, 20))
    assert compress(kept, closer, X, lambda_=1, schedule=[1.0]).history


@pytest.mark.parametrize("target", [400, 800, 1_200, MACS - 1])
def test_a_target_is_met_at_the_smallest_price_that_meets_it(target: int) -> None:
    model = network()
    found = compress(model, closer, X, target_macs=target, schedule=[0.1])
    (step,) = found.history
    assert step.macs <= target
    targets = survey(model, X).targets
    for lambda_, fits in ((step.lambda_ * (1 - 1e-9), False), (step.lambda_, True)):
        penalty = LowRankPenalty(targets, Selection("scheme_1", lambda_, keep_dense=True))
        penalty.c_step(0.1)
        assert (penalty.macs() <= target) == fits


def test_ranks_are_multiples() -> None:
    found = compress(network(), closer, X, target_macs=900, rank_multiple=4, schedule=SCHEDULE)
    assert found.ranks
    assert all(rank % 4 == 0 for step in found.history for rank in step.ranks.values() if rank not in (5, 20, 30))
    assert all(rank % 4 == 0 for rank in found.ranks.values())


def test_numbers_and_a_schedule_of_numpy_are_taken() -> None:
    found = compress(
        *(network(), closer, X),
        lambda_=np.float32(1),  # pyright: ignore[reportArgumentType]
        rank_multiple=np.int64(2),  # pyright: ignore[reportArgumentType]
        schedule=np.geomspace(0.1, 0.4, 3),
    )
    assert [step.mu for step in found.history] == pytest.approx(SCHEDULE)


def test_convolutions_in_scheme_2_and_in_float64() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding="same", dilation=2),
        nn.Flatten(),
        nn.Linear(16 * 81, 4),
    ).double()
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    found = compress(model, closer, x, target_macs=100_000, scheme="scheme_2", schedule=SCHEDULE)
    assert found.network(x).dtype == torch.float64
    counted = survey(found.network, x)
    assert sum(target.dense_cost("flops") for target in counted.targets.values()) == found.macs <= 100_000


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Neither lambda_ nor target_macs is given; expected one of them"),
        ({"lambda_": 1, "target_macs": 9}, "Both lambda_ and target_macs are given; expected one of them"),
        ({"lambda_": float("nan")}, "lambda_ is nan; expected a finite number, at least 0"),
        ({"target_macs": MACS}, r"target_macs is 1,650; expected at least 145, .*, and fewer than its own 1,650"),
        ({"target_macs": 100}, r"target_macs is 100; expected at least 145"),
        ({"lambda_": 1, "scheme": "scheme_3"}, 'scheme is "scheme_3"; expected one of: scheme_1, scheme_2'),
        ({"lambda_": "1"}, 'lambda_ is "1"; expected a finite number, at least 0'),
        ({"target_macs": "900"}, 'target_macs is "900"; expected a number'),
        ({"lambda_": 1, "criterion": "macs"}, 'criterion is "macs"; expected one of: flops, storage'),
        ({"lambda_": 1, "cost": "orig"}, 'cost is "orig"; expected one of: true, original'),
        ({"lambda_": 1, "rank_multiple": 0}, "rank_multiple is 0; expected a whole number, at least 1"),
        ({"lambda_": 1, "rank_multiple": 2.0}, "rank_multiple is 2.0; expected a whole number, at least 1"),
        ({"lambda_": 1, "schedule": []}, "schedule has no μ"),
        ({"lambda_": 1, "schedule": [0.1, "1"]}, "schedule has no μ, or one that is no positive number"),
        (
            {"lambda_": 1, "exclude": ["0", "2", "4"]},
            r"No layer can be factored \(0: excluded; 2: ex.*\)",
        ),
    ],
)
def test_wrong_arguments_are_one_sentence(changes: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        compress(network(), closer, X, **changes)


def test_training_that_diverges_is_one_sentence() -> None:
    def diverge(model: nn.Module, penalty: Callable[[], Tensor], step: int) -> None:
        model.get_parameter("2.weight").data.fill_(float("inf"))

    with pytest.raises(TrainingDiverged, match="The weights of 2 are no longer finite; lower the learning rate"):
        compress(network(), diverge, X, lambda_=1, schedule=SCHEDULE)
