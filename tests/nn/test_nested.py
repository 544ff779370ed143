"""Nested versions against networks of their own, with the same weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lowrank_demo.errors import WeightsRefused
from lowrank_demo.models.store import LocalFile
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.nn.nested import Mean, NestedAlexNet, Version, form_of, merged, shared_name, version_state
from lowrank_demo.nn.state_dict import read_version
from lowrank_demo.train.output import quantised
from tests.helpers.paths import sha256
from tests.helpers.small_alexnet import SMALL_LAYERS

WIDE = Version("scheme_2", "v1", (6, 8, 8, 8, 8, 20, 20, 10))
NARROW = Version("scheme_2", "v2", (3, 4, 5, 6, 7, 9, 8, 7))
OTHER = Version("scheme_1", "v1", (5, 6, 7, 8, 8, 12, 25, 4))
VERSIONS = (WIDE, NARROW, OTHER)
NARROW_FORM = form_of(NARROW, SMALL_LAYERS)


@pytest.fixture
def networks() -> dict[Version, LowRankAlexNet]:
    torch.manual_seed(3)
    return {one: LowRankAlexNet(one.scheme, one.ranks, SMALL_LAYERS) for one in VERSIONS}


@pytest.fixture
def tensors(networks: dict[Version, LowRankAlexNet]) -> dict[str, Tensor]:
    states = {one: network.state_dict() for one, network in networks.items()}
    return {name: tensor.clone() for name, tensor in merged(states, SMALL_LAYERS).items()}


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 227, 227, generator=torch.Generator().manual_seed(1))


def state_of(tensors: dict[str, Tensor], version: Version) -> dict[str, Tensor]:
    return version_state(tensors, version, form_of(version, SMALL_LAYERS))


def test_a_name_says_who_shares_a_tensor() -> None:
    names = {
        "classifier.4.V.weight": "classifier.4.V.weight",
        "classifier.4.U.weight": "classifier.4.U.weight",
        "features.4.V.weight": "scheme_2/features.4.V.weight",
        "features.4.U.weight": "scheme_2/v2/features.4.U.weight",
        "classifier.4.U.bias": "scheme_2/v2/classifier.4.U.bias",
        "features.1.running_var": "scheme_2/v2/features.1.running_var",
        "classifier.5.weight": "scheme_2/v2/classifier.5.weight",
    }
    assert {key: shared_name(NARROW, key) for key in names} == names


def test_a_version_is_the_first_components_of_the_shared_factors(
    networks: dict[Version, LowRankAlexNet], tensors: dict[str, Tensor]
) -> None:
    state = state_of(tensors, NARROW)
    wide, own = networks[WIDE].state_dict(), networks[NARROW].state_dict()
    assert list(state) == list(own)
    assert torch.equal(state["features.4.V.weight"], wide["features.4.V.weight"][:4])
    assert torch.equal(state["classifier.0.V.weight"], wide["classifier.0.V.weight"][:9])
    assert torch.equal(state["classifier.4.U.weight"], networks[OTHER].state_dict()["classifier.4.U.weight"][:, :8])
    assert torch.equal(state["features.4.U.weight"], own["features.4.U.weight"])
    assert torch.equal(state["features.1.running_var"], own["features.1.running_var"])


def test_a_narrower_slice_of_a_version(tensors: dict[str, Tensor]) -> None:
    ranks = (2, 4, 4, 4, 4, 5, 5, 5)
    state = state_of(tensors, Version("scheme_2", "v2", ranks))
    LowRankAlexNet("scheme_2", ranks, SMALL_LAYERS).load_state_dict(state)


def test_a_layer_of_rank_0_outputs_its_bias(tensors: dict[str, Tensor], images: Tensor, tmp_path: Path) -> None:
    ranks = (3, 0, 5, 6, 7, 9, 8, 0)
    network = read_version(Version("scheme_2", "v2", ranks), written(tensors, tmp_path, "int8"), SMALL_LAYERS)
    answers = network(images)
    torch.testing.assert_close(answers, network.state_dict()["classifier.8.U.bias"].expand_as(answers))
    conv2 = network.features[4](torch.randn(1, 16, 27, 27))
    torch.testing.assert_close(conv2, network.state_dict()["features.4.U.bias"].reshape(1, -1, 1, 1).expand_as(conv2))


def test_between_two_versions_are_the_means_of_their_own_tensors(
    networks: dict[Version, LowRankAlexNet], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    """The versions share V, so the mean of their U makes the mean of their dense weights."""
    ranks, low, share = (5, 8, 4, 7, 8, 15, 15, 8), (3, 4, 4, 6, 7, 15, 15, 8), 0.3
    parts = (Version("scheme_2", "v1", ranks), 1 - share), (Version("scheme_2", "v2", low), share)
    version = Mean("scheme_2", ranks, parts)
    state = read_version(version, written(tensors, tmp_path, "float32"), SMALL_LAYERS).state_dict()
    wide, own = networks[WIDE].state_dict(), networks[NARROW].state_dict()
    shared_v = wide["features.4.V.weight"]
    for key, rank, smaller in (("features.4", 8, 4), ("features.8", 4, 4), ("features.11", 7, 6)):
        v = wide[f"{key}.V.weight"]
        larger, small = wide[f"{key}.U.weight"][:, :rank], own[f"{key}.U.weight"][:, :smaller]

        def dense(u: Tensor, v: Tensor) -> Tensor:
            return torch.einsum("orky,rmyl->omkl", u, v[: u.shape[1]])

        mean = (1 - share) * dense(larger, v) + share * dense(small, v)
        torch.testing.assert_close(dense(state[f"{key}.U.weight"], state[f"{key}.V.weight"]), mean)
    assert torch.equal(state["features.4.V.weight"], shared_v)
    assert torch.equal(state["classifier.0.V.weight"], tensors["classifier.0.V.weight"][:15])
    assert torch.equal(state["classifier.0.U.weight"], tensors["classifier.0.U.weight"][:, :15])
    for key in ("features.1.running_var", "features.1.weight", "classifier.4.U.bias"):
        torch.testing.assert_close(state[key], (1 - share) * wide[key] + share * own[key])


def test_components_that_no_version_uses_are_zero(tensors: dict[str, Tensor], images: Tensor, tmp_path: Path) -> None:
    """Ranks above the nearest version's in one convolution: the network computes what that version does."""
    file = written(tensors, tmp_path, "float32")
    ranks = (5, *NARROW.ranks[1:])
    wide = read_version(Mean("scheme_2", ranks, ((NARROW, 1.0),)), file, SMALL_LAYERS)
    assert wide.ranks == ranks
    torch.testing.assert_close(wide(images), read_version(NARROW, file, SMALL_LAYERS)(images))


def test_statistics_of_a_cut_are_those_measured_at_the_nearest_ranks(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    key = "features.1.running_mean"
    one, two = (torch.full_like(tensors[f"scheme_2/v2/{key}"], value) for value in (1.0, 2.0))
    beside = {
        f"scheme_2/v2@3-4-4-5-6-8-7-6/{key}": one,
        f"scheme_2/v2@2-3-4-5-6-7-6-5/{key}": two,
        f"scheme_2/v1@2-3-4-5-6-7-6-5/{key}": torch.zeros(16),
    }
    state = NARROW_FORM.state_dict()
    for other in (other for other, _ in NARROW_FORM.named_buffers() if other != key and "num" not in other):
        for at in ("3-4-4-5-6-8-7-6", "2-3-4-5-6-7-6-5"):
            beside[f"scheme_2/v2@{at}/{other}"] = torch.full(state[other].shape, 0.5)
    safetensors.torch.save_file(beside, tmp_path / "cuts.safetensors")
    cuts = LocalFile(tmp_path / "cuts.safetensors", sha256(tmp_path / "cuts.safetensors"), "safetensors")
    file = replace(written(tensors, tmp_path, "float32"), statistics=cuts)
    for ranks, expected in (
        (NARROW.ranks, tensors[f"scheme_2/v2/{key}"]),
        ((3, 4, 4, 5, 6, 8, 7, 6), one),
        ((3, 4, 4, 5, 5, 9, 8, 7), one),  # linear layers do not count
        ((2, 3, 4, 5, 6, 1, 1, 1), two),
        ((1, 0, 1, 1, 1, 1, 1, 1), two),
    ):
        network = read_version(Version("scheme_2", "v2", ranks), file, SMALL_LAYERS)
        assert torch.equal(network.state_dict()[key], expected)
        if expected is not tensors[f"scheme_2/v2/{key}"]:
            assert torch.equal(network.state_dict()["features.1.running_var"], torch.full((16,), 0.5))
    cut = Version("scheme_2", "v2", (2, 3, 4, 5, 6, 1, 1, 1))
    missing = "scheme_2/v2@2-3-4-5-6-7-6-5/features.1.running_var"
    for change, sentence in (
        ({missing: None}, rf"lacks {missing}; expected every tensor of scheme_2/v2"),
        (
            {"classifier.0.V.weight": torch.zeros(4, 4)},
            r'cuts\.safetensors holds "classifier.*expected statistics of cuts alone',
        ),
        ({"scheme_2/v2@x/a.running_var": torch.zeros(4)}, "expected statistics of cuts alone"),
        ({"scheme_2/v2@1-2/a.running_var": torch.zeros(4)}, r"cuts\.safetensors: .*cut to 8 ranks"),
        ({missing: -torch.ones(16)}, r"cuts\.safetensors: .* is not finite, or negative"),
    ):
        changed = {name: tensor for name, tensor in (beside | change).items() if tensor is not None}
        safetensors.torch.save_file(changed, cuts.path)
        other = replace(file, statistics=replace(cuts, sha256=sha256(cuts.path)))
        with pytest.raises(WeightsRefused, match=sentence):
            read_version(cut, other, SMALL_LAYERS)
    (tmp_path / "cuts.safetensors").write_bytes(b"x")
    with pytest.raises(WeightsRefused, match=r"^cuts\.safetensors has SHA-256"):
        read_version(NARROW, file, SMALL_LAYERS)


def test_what_is_missing_or_too_narrow_is_named(tensors: dict[str, Tensor]) -> None:
    del tensors["scheme_2/v2/features.1.running_mean"]
    with pytest.raises(KeyError, match=r"scheme_2/v2/features\.1\.running_mean"):
        state_of(tensors, NARROW)
    with pytest.raises(ValueError, match="fc6 has 20 components; expected at least 21"):
        state_of(tensors, Version("scheme_2", "v1", (6, 8, 8, 8, 8, 21, 20, 10)))


def test_a_version_answers_as_a_network_of_its_own(tensors: dict[str, Tensor], images: Tensor) -> None:
    nested = NestedAlexNet(VERSIONS, tensors, SMALL_LAYERS).eval()
    for version in VERSIONS:
        nested.evaluated = version
        own = LowRankAlexNet(version.scheme, version.ranks, SMALL_LAYERS).eval()
        own.load_state_dict(state_of(tensors, version))
        assert torch.equal(nested(images), own(images))
        assert torch.equal(nested.network_of(version).eval()(images), own(images))


def test_a_step_trains_the_drawn_version_alone(tensors: dict[str, Tensor], images: Tensor) -> None:
    nested = NestedAlexNet([NARROW, OTHER], tensors, SMALL_LAYERS).train()
    before = copy.deepcopy(nested.tensors())
    torch.manual_seed(0)
    drawn = nested.versions[int(torch.randint(2, ()))]
    own = LowRankAlexNet(drawn.scheme, drawn.ranks, SMALL_LAYERS).train()
    own.load_state_dict(state_of(tensors, drawn))
    for network in (own, nested):
        torch.manual_seed(0)
        if network is own:
            torch.randint(2, ())  # as drawn by the other, so that dropout is the same
        network(images).square().sum().backward()
    for key, parameter in own.named_parameters():
        name = shared_name(drawn, key, SMALL_LAYERS)
        gradient = nested.tensors()[name].grad
        assert gradient is not None
        if key.endswith("V.weight"):
            assert not gradient[drawn.ranks[_place(key)] :].any(), "components beyond the version's rank"
            gradient = gradient[: drawn.ranks[_place(key)]]
        elif key.endswith("U.weight"):
            gradient = gradient[:, : drawn.ranks[_place(key)]]
        # Slices may be multiplied in another order than whole tensors.
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-4)
    moved = {name for name, tensor in nested.tensors().items() if not torch.equal(tensor, before[name])}
    statistics = {shared_name(drawn, key, SMALL_LAYERS) for key, _ in own.named_buffers()}
    assert moved == statistics, "those of the drawn version, and nothing else"


def _place(key: str) -> int:
    return next(i for i, layer in enumerate(SMALL_LAYERS) if key.startswith(f"{layer.key}."))


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_a_version_is_read_from_a_file(tensors: dict[str, Tensor], tmp_path: Path, kind: str) -> None:
    file = written(tensors, tmp_path, kind)
    for version in VERSIONS:
        network = read_version(version, file, SMALL_LAYERS)
        for key, tensor in state_of(tensors, version).items():
            tolerance = float(tensor.abs().max()) / 100 if kind == "int8" and tensor.is_floating_point() else 0.0
            torch.testing.assert_close(network.state_dict()[key], tensor, rtol=0, atol=tolerance)
        for tensor in network.state_dict().values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes, "no view: safetensors saves whole storages alone"


@pytest.mark.parametrize(
    ("change", "version", "sentence"),
    [
        (
            {"scheme_2/v2/features.1.running_mean": None},
            NARROW,
            r"lacks scheme_2/v2/features\.1\.running_mean; expected",
        ),
        (
            {},
            Version("scheme_2", "v9", NARROW.ranks),
            r"lacks scheme_2/v9/features\.0\.U\.weight;",
        ),
        (
            {"scheme_2/v2/features.1.bias": torch.ones(99)},
            Mean("scheme_2", WIDE.ranks, ((WIDE, 0.5), (NARROW, 0.5))),
            r"features\.1\.bias is torch\.float32 \(99,\)",
        ),
        ({}, Version("scheme_2", "v1", (6, 8, 8, 8, 8, 21, 20, 10)), "fc6 has 20 components; expected at least 21"),
        (
            {"scheme_2/v2/features.1.bias": torch.ones(3)},
            NARROW,
            r"features\.1\.bias is torch\.float32 \(3,\)",
        ),
        ({"scheme_2/features.0.V.weight.scale": torch.ones(1)}, NARROW, r"V\.weight\.scale has shape \(1,\); expected"),
        ({"scheme_2/features.0.V.weight.scale": torch.tensor(1.0)}, NARROW, r"scale has shape \(\); expected \(3,\)"),
        ({"classifier.8.U.weight": torch.full((1000, 10), torch.nan)}, NARROW, "not finite"),
        ({"classifier.4.U.weight": torch.ones(64)}, NARROW, "fc7 has 0 components; expected at least 8"),
        ({"scheme_2/features.0.V.weight": torch.tensor(1.0)}, NARROW, "conv1 has 0 components; expected at least 3"),
    ],
)
def test_a_file_that_lacks_a_version_is_refused(
    tensors: dict[str, Tensor], tmp_path: Path, change: dict[str, Tensor | None], version: Version, sentence: str
) -> None:
    stored = quantised(tensors, "int8") | {name: tensor for name, tensor in change.items() if tensor is not None}
    for name in (name for name, tensor in change.items() if tensor is None):
        del stored[name]
    if any(tensor is not None and tensor.dim() == 2 for tensor in change.values()):
        del stored["classifier.8.U.weight.scale"]
    with pytest.raises(WeightsRefused, match=sentence):
        read_version(version, written(stored, tmp_path, "float32"), SMALL_LAYERS)


def test_a_tampered_slice_is_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    file = written(tensors, tmp_path, "int8")
    data = bytearray(file.path.read_bytes())
    data[-1] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(WeightsRefused, match=r"nested\.safetensors has SHA-256 .*; expected"):
        read_version(NARROW, file, SMALL_LAYERS)


def written(tensors: dict[str, Tensor], folder: Path, kind: str) -> LocalFile:
    path = folder / "nested.safetensors"
    safetensors.torch.save_file(quantised(tensors, kind), path)
    return LocalFile(path, sha256(path), "nested")
