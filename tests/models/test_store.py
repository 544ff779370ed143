"""From a card to a verified file: order of sources, digests, the original's pickled format, a real server."""

import dataclasses
import hashlib
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

import lowrank_demo
from lowrank_demo.errors import WeightsRefused, WeightsUnavailable
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.nn.state_dict import read_state_dict
from lowrank_demo.settings import Settings
from tests.helpers.app import free_port
from tests.helpers.hub import StandInHub
from tests.helpers.models import own_model, zoo_with
from tests.helpers.paths import sha256
from tests.helpers.server import FileServer
from tests.helpers.slack import SLACK

ID = "published/scheme_2/v5"


def store(settings: Settings) -> WeightStore:
    return WeightStore(read_zoo(settings.zoo), settings.cache_dir, settings.hub_repo)


def test_published_file_end_to_end(served_settings: Settings, file_server: FileServer, pickled: Path) -> None:
    weights, card = store(served_settings), read_zoo(served_settings.zoo).get(ID)
    assert weights.where(card) == "to download"
    file = weights.ensure(card)
    assert file.sha256 == sha256(pickled), "the full digest is recorded"
    assert weights.where(card) == "cached"
    network = load_network(card, weights.ensure(card))
    expected = torch.load(pickled, weights_only=True)
    assert all(torch.equal(expected[key], tensor) for key, tensor in network.state_dict().items())
    assert len(file_server.requests) == 1, "the second time comes from the cache"


def test_low_rank_alexnet_as_in_the_original(
    served_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pickled: Path
) -> None:
    monkeypatch.setenv("LOWRANK_ZOO", str(served_settings.zoo))
    network = lowrank_demo.low_rank_alexnet("scheme_2", "v5", pretrained=True)
    expected = torch.load(pickled, weights_only=True)
    assert torch.equal(network.state_dict()["classifier.8.U.bias"], expected["classifier.8.U.bias"])
    assert "45.9 of 45.9 MB" in capsys.readouterr().err


def test_tampered_cache_is_refused(served_settings: Settings) -> None:
    weights, card = store(served_settings), read_zoo(served_settings.zoo).get(ID)
    file = weights.ensure(card)
    data = bytearray(file.path.read_bytes())
    data[len(data) // 2] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(WeightsRefused, match="changed or damaged"):
        load_network(card, weights.ensure(card))


def test_a_file_that_the_user_put_there_is_checked_by_its_published_digits(
    served_settings: Settings, pickled: Path
) -> None:
    card = read_zoo(served_settings.zoo).get(ID)
    served_settings.cache_dir.mkdir(parents=True)
    (served_settings.cache_dir / card.weights.file).write_bytes(pickled.read_bytes())
    load_network(card, store(served_settings).ensure(card))


def test_offline_the_error_lists_usable_models_and_comes_quickly(settings: Settings, tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}/x"
    offline = dataclasses.replace(settings, zoo=zoo_with(tmp_path / "zoo", {ID: {"url": dead}}))
    began = time.monotonic()
    with pytest.raises(WeightsUnavailable, match=r"v5 are not.*here: bundled/scheme_1/v1, .*, and 7 more"):
        store(offline).ensure(read_zoo(offline.zoo).get(ID))
    assert time.monotonic() - began < 3 * SLACK


def test_hub_is_asked_before_the_published_address(
    served_settings: Settings, file_server: FileServer, hub: StandInHub, pickled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub_template(hub.url))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    card = read_zoo(served_settings.zoo).get(ID)
    weights = WeightStore(read_zoo(served_settings.zoo), served_settings.cache_dir, "owner/models")

    name = "published-scheme_2-v5.safetensors"
    hub.files[name] = safetensors.torch.save(torch.load(pickled, weights_only=True))
    file = weights.ensure(card)
    assert file.format == "safetensors"
    load_network(card, file)
    assert (file.sha256, file_server.requests) == (hashlib.sha256(hub.files[name]).hexdigest(), [])
    assert weights.where(card) == "cached"
    assert weights.ensure(card) == file
    assert len(hub.starts) == 1, "the second time comes from the cache"
    assert (hub.tokens, hub.tokens_at_cdn) == ({"Bearer hf_secret"}, {""}), "the token stays with the Hub"

    file.path.unlink()
    del hub.files[name]
    assert weights.ensure(card).format == "pickle", "without the file in the repository, the published address is used"


def hub_template(url: str) -> str:
    return url + "/{repo_id}/resolve/{revision}/{filename}"


def test_own_weights_that_are_gone_are_missing(settings: Settings, tmp_path: Path) -> None:
    folder = own_model(tmp_path / "own")
    weights = WeightStore.from_settings(dataclasses.replace(settings, models_dir=folder))
    card = weights.zoo.get("own/scheme_2/mine")
    assert weights.where(card) == "bundled"
    (folder / "own.safetensors").unlink()
    assert weights.where(card) == "missing"
    with pytest.raises(WeightsUnavailable) as caught:
        weights.ensure(card)
    assert str(caught.value) == (
        f"The weights of own/scheme_2/mine are missing; expected {folder / 'own.safetensors'}. Put the file there "
        "again, or choose a model whose weights are here: bundled/scheme_1/v1, bundled/scheme_1/v2, and 7 more."
    )


def test_int8_weights_are_scaled_back(settings: Settings) -> None:
    zoo = read_zoo(settings.zoo)
    card = zoo.get("bundled/scheme_2/v5")
    file = store(settings).ensure(card)
    from safetensors.torch import load_file

    stored = load_file(file.path)
    state = read_state_dict(file)
    key = "classifier.0.V.weight"
    assert stored[key].dtype == torch.int8
    torch.testing.assert_close(state[key], stored[key].float() * stored[key + ".scale"][:, None], rtol=0, atol=0)
    load_network(card, file)
