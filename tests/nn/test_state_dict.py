"""Weight files that must be refused, each with a sentence; nothing in them is executed."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lowrank_demo.errors import WeightsRefused
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import LocalFile
from lowrank_demo.models.zoo import Zoo
from tests.helpers.paths import sha256

Change = Callable[[dict[str, torch.Tensor]], object]


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def changed(**tensors: torch.Tensor | None) -> Change:
    def change(state: dict[str, torch.Tensor]) -> object:
        for name, tensor in tensors.items():
            key = name.replace("__", ".")
            if tensor is None:
                del state[key]
            else:
                state[key] = tensor
        return state

    return change


BIAS = "classifier__8__U__bias"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (changed(**{BIAS: None}), r'lacks 1 key \("classifier\.8\.U\.bias"\) and has 0 unknown keys; expected'),
        (changed(extra=torch.ones(1)), r'lacks 0 keys and has 1 unknown key \("extra"\); expected'),
        (
            lambda state: {f"net.{key}": state[key] for key in state},
            r'\("classifier\..*, …\) .* \("net\.classifier\..*, …\)',
        ),
        (lambda state: {"module.x": state["classifier.8.U.bias"], **state}, r'1 unknown key \("module\.x"\)'),
        (lambda state: {"epoch": 90, "state_dict": state}, r'holds 2 values .* \("epoch", "state_dict"\); expected'),
        (lambda state: {**state, 7: state["classifier.8.U.bias"]}, r'1 value that is not a plain tensor \("7"\)'),
        (changed(**{BIAS: torch.ones(999)}), r"\(999,\); expected"),
        (changed(**{BIAS: torch.ones(1000).double()}), "float64"),
        (changed(**{BIAS: torch.full((1000,), float("nan"))}), "not finite"),
        (changed(**{"features.1.running_var": torch.full((96,), -1.0)}), "negative variances"),
        (lambda _: [1, 2, 3], "holds list"),
        (lambda state: {**state, "x": "text"}, "state_dict of plain tensors"),
        (lambda state: {**state, "x": Payload()}, "cannot be read as pickle"),
    ],
)
def test_refused(zoo: Zoo, pickled: Path, tmp_path: Path, change: Change, sentence: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.th"
    torch.save(change(torch.load(pickled, weights_only=True)), path)
    with pytest.raises(WeightsRefused, match=sentence):
        load_network(zoo.get("scheme_2/v5"), LocalFile(path, sha256(path), "pickle"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_the_keys_of_a_network_that_was_wrapped(zoo: Zoo, pickled: Path, tmp_path: Path, wrapper: str) -> None:
    path, state = tmp_path / "weights.th", torch.load(pickled, weights_only=True)
    torch.save({wrapper + key: tensor for key, tensor in state.items()}, path)
    network = load_network(zoo.get("scheme_2/v5"), LocalFile(path, sha256(path), "pickle"))
    assert all(torch.equal(state[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>", b"\x80\x02", pickle.dumps(Payload()), b"\xff" * 100])
def test_not_weights_at_all(zoo: Zoo, tmp_path: Path, content: bytes, kind, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match="cannot be read"):
        load_network(zoo.get("scheme_2/v5"), LocalFile(path, sha256(path), kind))
    assert not (tmp_path / "executed").exists()


def test_truncated(zoo: Zoo, pickled: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.th"
    path.write_bytes(pickled.read_bytes()[:1_000_000])
    with pytest.raises(WeightsRefused, match="cannot be read"):
        load_network(zoo.get("scheme_2/v5"), LocalFile(path, sha256(path), "pickle"))
