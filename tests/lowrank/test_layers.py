"""The layers of a network: each is factored where that pays, or left alone with a reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lowrank_demo.errors import UsageError
from lowrank_demo.lowrank.factors import Factored, factorised
from lowrank_demo.lowrank.layers import decompose, replace, survey

READ = "the example does not pass through it; its weight may be read without a call, and its MACs are not counted"


class Many(nn.Module):
    """Layers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.grouped = nn.Conv2d(4, 8, 3, groups=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.turned = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.embedding = nn.Embedding(6, 4)
        self.tied = nn.Linear(4, 6, bias=False)
        self.tied.weight = self.embedding.weight
        self.scaled = parametrizations.weight_norm(nn.Linear(6, 6))
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.idle = nn.Linear(6, 6)
        self.twice = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.turned(self.depthwise(self.grouped(self.conv(input=x)))).mean((2, 3))
        x = self.twice(self.twice(self.scaled(self.tied(x))))[:, None]
        return self.norm(self.attention(x, x, x)[0][:, 0])


def test_what_cannot_be_factored_is_left_alone_with_a_reason() -> None:
    network = Many().train()
    network.norm.eval()
    before = copy.deepcopy(network.state_dict())
    found = survey(network, torch.randn(2, 4, 6, 6), exclude=["conv"])
    assert dict(found.left_alone) == {
        "conv": "excluded",
        "grouped": "it is grouped",
        "depthwise": "it is depthwise",
        "turned": "it is ConvTranspose2d; only Conv2d and Linear are factored",
        "tied": "it shares its weight with embedding.weight",
        "scaled": "its weight is computed from other parameters",
        "attention.out_proj": READ,
        "idle": READ,
    }
    assert list(found.targets) == ["twice"]
    assert found.targets["twice"].dense_cost("flops") == 2 * 36, "it is called twice"
    convolutions = 36 * (4 * 4 * 9 + 8 * 2 * 9 + 8 * 9 + 8 * 4 * 4)
    assert found.other_macs == convolutions + 6 * 4 + 6 * 6
    assert network.training
    assert not network.norm.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_module_that_stands_in_two_places_is_left_alone() -> None:
    layer = nn.Linear(8, 8)
    found = survey(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 8))
    assert dict(found.left_alone) == {"0": "it shares its weight with 2.weight"}
    assert survey(nn.Linear(8, 8), torch.zeros(1, 8)).left_alone[""].startswith("it is the whole network")


def test_exclude_takes_whole_modules_and_refuses_unknown_names() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(8, 8)), nn.Linear(8, 8))
    assert list(survey(network, torch.zeros(1, 8), exclude=["0"]).targets) == ["1"]
    with pytest.raises(UsageError, match='exclude names "head", which is not a module of the network; expected'):
        survey(network, torch.zeros(1, 8), exclude=["head"])


def test_exclude_is_one_name_or_any_iterable() -> None:
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(25)))
    for exclude in ("24", (name for name in ["24"]), {"24"}):
        assert list(survey(network, torch.zeros(1, 4), exclude).left_alone) == ["24"]


@pytest.mark.parametrize("example", [[torch.zeros(1, 4)], (), torch.tensor(1.0), None])
def test_an_example_that_is_no_batch_is_one_sentence(example: Any) -> None:
    with pytest.raises(UsageError, match=r"The example input is a \w+ without a batch; expected a tensor whose first"):
        survey(nn.Sequential(nn.Linear(4, 4)), example)


class WithBias(nn.Linear):
    """Returns two values, as tensor-parallel layers do, and names its input otherwise."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x), self.bias


class OwnForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own = WithBias(8, 8)
        self.plain = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(self.own(x=x)[0])


def test_a_layer_with_a_forward_of_its_own_is_left_alone() -> None:
    found = survey(OwnForward(), torch.zeros(2, 8))
    assert dict(found.left_alone) == {"own": "WithBias has a forward of its own"}
    assert list(found.targets) == ["plain"]


class Prompted(nn.Module):
    """Runs one layer once for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt = nn.Linear(20, 15)
        self.main = nn.Linear(15, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x + self.prompt(torch.ones(1, 20)))


@pytest.mark.parametrize("batch", [1, 8])
def test_a_layer_that_runs_once_for_a_batch_is_found_and_counted(batch: int) -> None:
    found = survey(Prompted(), torch.zeros(batch, 15))
    assert list(found.targets) == ["prompt", "main"]
    assert found.macs == 20 * 15 + 15 * 10


def test_frozen_layers_are_left_alone_and_a_frozen_bias_stays_frozen() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    network[0].requires_grad_(False)
    network[1].bias.requires_grad_(False)
    found = survey(network, torch.zeros(1, 8))
    assert dict(found.left_alone) == {"0": "it is frozen"}
    pair = factorised(found.targets["1"].module, "scheme_1", 2)
    assert [parameter.requires_grad for parameter in pair.parameters()] == [True, True, False]


def test_layers_with_hooks_or_a_shared_bias_are_left_alone() -> None:
    network = nn.Sequential(*(nn.Linear(8, 8) for _ in range(6)))
    network[1].bias = network[0].bias
    network[2].register_forward_hook(lambda *_: None)
    network[3].register_forward_pre_hook(lambda *_: None)
    network[4].register_full_backward_hook(lambda *_: None)
    found = survey(network, torch.zeros(1, 8))
    shared = {"0": "it shares its bias with 1.bias", "1": "it shares its bias with 0.bias"}
    assert dict(found.left_alone) == {**shared, **dict.fromkeys("234", "it has hooks")}
    assert list(found.targets) == ["5"], "no hook of the survey itself is left"


class Listed(nn.Module):
    """Calls its layers through a list that is not a module."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.order = [self.a, self.b]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.order:
            x = layer(x)
        return self.c(self.b(x))


def test_a_layer_that_is_also_held_in_a_list_is_left_alone() -> None:
    network = Listed()
    layers = list(network.children())
    found = survey(network, torch.zeros(1, 8))
    assert dict(found.left_alone) == dict.fromkeys(
        "ab", "the network also holds it outside its modules, in a list for example"
    )
    assert found.macs == 4 * 64
    assert list(network.children()) == layers, "the network is as it was"


@pytest.mark.parametrize(("scheme", "pays"), [("scheme_1", 9), ("scheme_2", 9)])
def test_a_layer_stays_dense_where_factoring_does_not_pay(scheme: str, pays: int) -> None:
    """A 40 x 13 matrix of 520 weights: rank 9 has 477, rank 10 has 530."""
    network = nn.Sequential(nn.Linear(13, 40))
    targets = survey(network, torch.zeros(1, 13)).targets
    target = targets["0"]
    assert [rank for rank in range(14) if target.pays(scheme, rank)] == list(range(pays + 1))
    decompose(network, targets, {"0": pays + 1}, scheme)
    assert network[0] is target.module
    decompose(network, targets, {"0": pays}, scheme)
    assert isinstance(network[0], Factored)
    with pytest.raises(UsageError, match='"1" is not a layer that can be factored'):
        decompose(network, targets, {"1": 1}, scheme)


def test_full_rank_stays_dense_even_where_the_factors_would_be_cheaper() -> None:
    """With this much padding the output has 26 rows and the input of scheme 2's V only 8."""
    network = nn.Sequential(nn.Conv2d(16, 1, 1, padding=9))
    target = survey(network, torch.zeros(1, 16, 8, 8)).targets["0"]
    assert target.full_rank("scheme_2") == 1
    assert target.unit_cost("scheme_2", "flops") < target.dense_cost("flops")
    assert not target.pays("scheme_2", 1)


def test_a_layer_that_is_read_and_not_called_works_when_it_is_factored() -> None:
    """In evaluation mode torch's encoder layer reads ``linear1.weight`` for its fast path."""
    torch.manual_seed(0)
    network = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1, enable_nested_tensor=False
    ).eval()
    x = torch.randn(2, 5, 16)
    targets = survey(network, x).targets
    assert list(targets) == ["layers.0.linear1", "layers.0.linear2"]
    with torch.no_grad():
        wanted = network(x)
        for name, target in targets.items():
            replace(network, name, factorised(target.module, "scheme_1", 16))
        torch.testing.assert_close(network(x), wanted, atol=1e-5, rtol=1e-5)
