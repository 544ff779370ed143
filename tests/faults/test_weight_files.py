"""Weights that are damaged, hostile or do not come: refused in a sentence, while the model in use goes on serving."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lowrank_demo.classify.inference import Prediction
from lowrank_demo.errors import LowRankError, UnknownModel, WeightsRefused, WeightsUnavailable
from lowrank_demo.models import download
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from tests.helpers.models import nested_models, zoo_with
from tests.helpers.paths import sha256
from tests.helpers.photos import photo_path
from tests.helpers.server import FileServer

pytestmark = pytest.mark.spread

ID = "published/scheme_2/v5"
IN_USE = "bundled/scheme_2/v5"


def answer_of(service: Service, model: str) -> list[tuple[str, float]]:
    (answer,) = service.classify([Photo.from_file(photo_path("lion.jpg"))], service.zoo.get(model))
    assert isinstance(answer, Prediction)
    return [(guess.label.name, guess.probability) for guess in answer.top]


def refused(service: Service, kind: type[LowRankError], sentence: str, model: str = ID, in_use: str = IN_USE) -> None:
    """The model that is asked for is refused; the one in use answers as before."""
    before = answer_of(service, in_use)
    with pytest.raises(kind, match=sentence) as caught:
        answer_of(service, model)
    assert "Traceback" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert answer_of(service, in_use) == before


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


State = dict[str, torch.Tensor]
BIAS = "classifier.8.U.bias"
CONTENTS: dict[str, tuple[Callable[[State], object], str]] = {
    "a malicious pickle": (lambda state: {**state, "x": Payload()}, "cannot be read as pickle"),
    "a list": (lambda state: list(state.values()), "holds list"),
    "a wrong shape": (lambda state: {**state, BIAS: torch.ones(999)}, "expected torch.float32"),
    "a missing key": (lambda state: {k: v for k, v in state.items() if k != BIAS}, "lacks 1 key"),
    "an extra key": (lambda state: {**state, "more": torch.ones(1)}, "1 unknown"),
    "not a number": (lambda state: {**state, BIAS: torch.full((1000,), float("nan"))}, "not finite"),
    "an infinite value": (lambda state: {**state, BIAS: torch.full((1000,), float("inf"))}, "not finite"),
    "another dtype": (lambda state: {**state, BIAS: torch.ones(1000, dtype=torch.int64)}, "int64"),
    "a sparse tensor": (lambda state: {**state, BIAS: torch.ones(1000).to_sparse()}, "plain"),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_of_the_right_digest_that_holds(
    content: str, settings: Settings, file_server: FileServer, pickled: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, sentence = CONTENTS[content]
    file = io.BytesIO()
    torch.save(change(torch.load(pickled, weights_only=True)), file)
    path = file_server.folder / pickled.name
    path.write_bytes(file.getvalue())
    weights = {"url": f"{file_server.url}/{path.name}", "sha256": sha256(path)[:8]}
    service = Service(dataclasses.replace(settings, zoo=zoo_with(tmp_path / "zoo", {ID: weights})))
    refused(service, WeightsRefused, sentence)
    assert not (tmp_path / "executed").exists()


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda data: data[: len(data) // 2],
    "HTML": lambda data: b"<!doctype html><html>Not here any more</html>",
    "one flipped bit": lambda data: data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:],
    "another file": lambda data: data[::-1],
    "longer": lambda data: data + bytes(4_000_000),
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("content", BYTES)
def test_a_server_that_sends(content: str, served_settings: Settings, file_server: FileServer, pickled: Path) -> None:
    (file_server.folder / pickled.name).write_bytes(BYTES[content](pickled.read_bytes()))
    service = Service(served_settings)
    refused(service, WeightsRefused, "expected|larger than")
    assert not (served_settings.cache_dir / pickled.name).exists()
    (file_server.folder / pickled.name).write_bytes(pickled.read_bytes())
    assert answer_of(service, ID), "once the right file is there, it is taken"


def test_a_server_that_stalls(served_settings: Settings, file_server: FileServer, monkeypatch) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 1.0)
    file_server.stall_after = 3_000_000
    service = Service(served_settings)
    refused(service, WeightsUnavailable, "stopped")
    file_server.stall_after = None
    assert answer_of(service, ID)


def test_a_line_that_is_cut(served_settings: Settings, file_server: FileServer) -> None:
    file_server.cut_after = 3_000_000
    service = Service(served_settings)
    refused(service, WeightsUnavailable, "it continues where it stopped")
    file_server.cut_after = None
    assert answer_of(service, ID)
    assert file_server.requests[-1][1], "the rest alone was asked for"


def test_a_cache_that_was_tampered_with(served_settings: Settings, pickled: Path) -> None:
    assert answer_of(Service(served_settings), ID)
    cached = served_settings.cache_dir / pickled.name
    with cached.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"tampered")
    refused(Service(served_settings), WeightsRefused, "changed or damaged")


def test_a_tampered_record_of_the_digest(served_settings: Settings, pickled: Path) -> None:
    assert answer_of(Service(served_settings), ID)
    cached = served_settings.cache_dir / pickled.name
    with cached.open("r+b") as file:
        file.write(b"tampered")
    (cached.parent / f"{cached.name}.sha256").write_text(sha256(cached))
    refused(Service(served_settings), WeightsRefused, "changed or damaged")


def test_a_full_disk(served_settings: Settings, small_disk: Path, pickled: Path) -> None:
    service = Service(dataclasses.replace(served_settings, cache_dir=small_disk / "cache"))
    refused(service, WeightsUnavailable, "could not be saved")
    assert not (small_disk / "cache" / pickled.name).exists()


NESTED = "nested/scheme_2/v2"
OWN_TENSORS = ("features.1.running_mean", "features.0.U.weight", "classifier.8.U.bias", "features.1.weight")


def without(name: str) -> Callable[[State], object]:
    return lambda tensors: tensors.pop(name)


NESTED_FILES: dict[str, tuple[Callable[[State], object], str]] = {
    **{
        f"without the version's {key}": (without(f"scheme_2/v2/{key}"), rf"lacks {NESTED[7:]}/{key}; expected every")
        for key in OWN_TENSORS
    },
    "without a shared factor": (without("scheme_2/features.4.V.weight"), "lacks scheme_2/v2/features.4.V.weight"),
    "with too few components": (
        lambda tensors: tensors.update({"scheme_2/v2/features.0.U.weight": torch.ones(96, 2, 11, 1)}),
        "conv1 has 2 components; expected at least 3",
    ),
    "with a factor of no shape": (
        lambda tensors: tensors.update({"scheme_2/v2/features.0.U.weight": torch.tensor(1.0)}),
        "conv1 has 0 components; expected at least 3",
    ),
    "with a statistic that is no number": (
        lambda tensors: tensors.update({"scheme_2/v2/features.1.running_var": torch.full((96,), torch.nan)}),
        "holds values that are not finite",
    ),
}


@pytest.mark.parametrize("content", NESTED_FILES)
def test_a_nested_file(content: str, settings: Settings, tmp_path: Path) -> None:
    change, sentence = NESTED_FILES[content]
    service = Service(dataclasses.replace(settings, models_dir=nested_models(tmp_path / "models", change)))
    refused(service, WeightsRefused, sentence, model=NESTED)
    if "shared" not in content:
        assert answer_of(service, "nested/scheme_2/v1"), "the versions whose tensors are there are served"


def test_a_slice_that_was_tampered_with(settings: Settings, tmp_path: Path) -> None:
    service = Service(dataclasses.replace(settings, models_dir=nested_models(tmp_path / "models")))
    assert answer_of(service, NESTED)
    path = tmp_path / "models" / "nested.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    sentence = r"nested\.safetensors has SHA-256 .*; expected .*: put the right file in its place"
    for model in ("nested/scheme_2/v1", "nested/scheme_2@2-4-4-4-4-6-5-5"):
        refused(service, WeightsRefused, sentence, model, in_use=NESTED)


def test_ranks_above_the_file_s(settings: Settings, tmp_path: Path) -> None:
    service = Service(dataclasses.replace(settings, models_dir=nested_models(tmp_path / "models")))
    sentence = "to ranks 9-5-4-4-4-6-5-5; expected 8 ranks from 0 to those of its weights, 4-6-6-6-6-9-8-7"
    refused(service, UnknownModel, sentence, "nested/scheme_2@9-5-4-4-4-6-5-5", in_use=NESTED)
