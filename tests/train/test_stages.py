"""A whole run through the command line, on a tiny file: the model that comes out is taken by the app as it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lowrank_demo.train.data import LmdbImages

from lowrank_demo.lowrank.calibration import calibrated
from lowrank_demo.lowrank.history import read_history
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.lowrank.refactor import refactored
from lowrank_demo.models.cards import read_zoo
from lowrank_demo.models.store import WeightStore
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.settings import ASSETS
from lowrank_demo.train.config import read_config
from lowrank_demo.train.output import quantised
from tests.commandline import run
from tests.conftest import ROOT, build_long_lmdb, photo_path

CONFIG = """
seed = 5
folder = "run"
[data]
train = "train.lmdb"
validation = "val.lmdb"
batch_size = 8
workers = 0
[reference]
epochs = {reference}
learning_rate = 0.01
[compress]
scheme = "scheme_2"
lambda = 20.0
first_mu = 10.0
steps = {steps}
learning_rate = 0.001
[finetune]
epochs = 1
learning_rate = 0.001
ema = 0.5
label_smoothing = 0.1
[output]
family = "own"
version = "tiny"
licence = "CC0"
note = "A test."
"""


def folder_with_data(folder: Path, reference: int = 1, steps: int = 1) -> Path:
    build_long_lmdb(folder / "train.lmdb", 17)
    build_long_lmdb(folder / "val.lmdb", 9)
    return configure(folder, reference, steps)


def configure(folder: Path, reference: int, steps: int) -> Path:
    config = folder / "run.toml"
    config.write_text(CONFIG.format(reference=reference, steps=steps))
    return config


# Three decompositions of fc6 and fc7: minutes on a slow machine.
@pytest.mark.timeout(900)
def test_from_reference_to_the_app(tmp_path: Path) -> None:
    config = str(folder_with_data(tmp_path))
    early = run("train", "compress", config)
    assert early.returncode == 2
    assert "run the stage before this one first" in early.stderr
    done = run("train", "reference", config)
    assert done.returncode == 0, done.stderr
    assert "epoch 1 of 1: loss" in done.stdout
    again = run("train", "reference", config)
    assert again.returncode == 1
    assert "--resume" in again.stderr

    assert run("train", "compress", config).returncode == 0
    # The run is made longer and goes on where it was.
    configure(tmp_path, 1, 2)
    done = run("train", "compress", config, "--resume")
    assert done.returncode == 0, done.stderr
    assert "C step 1: mu 12," in done.stdout
    assert "C step 0" not in done.stdout
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [step["mu"] for step in history["steps"]] == [10.0, 12.0]
    assert all(len(step["ranks"]) == 8 for step in history["steps"])
    assert history["steps"][1]["distance"] > 0

    done = run("train", "finetune", config)
    assert done.returncode == 0, done.stderr
    models = tmp_path / "run" / "models"
    zoo = read_zoo(ASSETS / "zoo.json", models)
    card = zoo.get("own/scheme_2/tiny")
    assert list(card.ranks) == [max(rank, 1) for rank in history["steps"][1]["ranks"]]
    assert (card.lambda_, card.licence, card.note) == (20.0, "CC0", "A test.")
    load_network(card, WeightStore(zoo, tmp_path / "cache").ensure(card))
    assert card.history
    kept = read_history(Path(card.history))
    assert [list(step.ranks) for step in kept.steps] == [step["ranks"] for step in history["steps"]]
    assert all(step.top1_error is not None and step.macs > 0 for step in kept.steps)

    listed = run("models", LOWRANK_MODELS_DIR=str(models))
    assert "own/scheme_2/tiny" in listed.stdout
    photo = str(photo_path("lion.jpg"))
    answer = run("classify", photo, "--model", "own/scheme_2/tiny", LOWRANK_MODELS_DIR=str(models))
    assert answer.returncode == 0, answer.stderr
    report = tmp_path / "report.json"
    measured = run(
        *("validate", "--lmdb-file", str(tmp_path / "val.lmdb"), "--models", "own/scheme_2/tiny"),
        *("--json", str(report)),
        LOWRANK_MODELS_DIR=str(models),
    )
    assert measured.returncode == 0, measured.stderr
    (result,) = json.loads(report.read_text())["models"]
    assert result["top1_error"] == pytest.approx(card.measured[0].top1), "the card states what validate measures"


@pytest.mark.parametrize("calibration", [0, 4])
def test_finetune_starts_from_a_model_at_another_ones_ranks(tmp_path: Path, calibration: int) -> None:
    config = folder_with_data(tmp_path)
    text = config.read_text().replace(
        "[finetune]",
        '[finetune]\nstart = "preview/scheme_2/v5"\nranks_of = "published/scheme_1/v4"\nfrozen_layers = 2\n'
        f"calibration = {calibration}",
    )
    config.write_text(text.replace('version = "tiny"', 'version = "tiny"\npre_shrink = 96\nformat = "float32"'))
    done = run("train", "finetune", str(config))
    assert done.returncode == 0, done.stderr
    zoo = read_zoo(ASSETS / "zoo.json", tmp_path / "run" / "models")
    card, like, start = (
        zoo.get(name) for name in ("own/scheme_1/tiny", "published/scheme_1/v4", "preview/scheme_2/v5")
    )
    assert (card.ranks, card.lambda_, card.pre_shrink, card.history) == (like.ranks, like.lambda_, 96, None)
    store = WeightStore(zoo, tmp_path / "cache")
    trained = load_network(card, store.ensure(card)).state_dict()
    torch.manual_seed(5)
    network = load_network(start, store.ensure(start))
    if calibration:
        images = LmdbImages(read_config(config).data.train, None, 0)
        some = torch.stack([images[index][0] for index in range(0, len(images), len(images) // calibration)])
        begun = calibrated(network, like.scheme, like.ranks, some[:calibration]).state_dict()
    else:
        begun = refactored(network, like.scheme, like.ranks).state_dict()
    for key, tensor in trained.items():
        frozen = key.startswith(("features.0.", "features.1.", "features.4.", "features.5."))
        # A bias before a batch normalisation has no gradient.
        if tensor.is_floating_point() and not key.endswith("U.bias"):
            assert torch.equal(tensor, begun[key]) == frozen, key


def test_a_share_of_the_start_is_kept(tmp_path: Path) -> None:
    config = folder_with_data(tmp_path)
    start = '[finetune]\nstart = "preview/scheme_2/v5"\n'
    text = (
        config.read_text()
        .replace("[finetune]", start)
        .replace('version = "tiny"', 'version = "tiny"\nformat = "float32"')
    )

    def stored(share: float, more: str = "", **env: str) -> dict[str, torch.Tensor]:
        config.write_text(text.replace(start, f"{start}share_of_start = {share}\n{more}\n"))
        done = run("train", "finetune", str(config), *(["--resume"] if share else []), **env)
        assert done.returncode == 0, done.stderr
        zoo = read_zoo(ASSETS / "zoo.json", tmp_path / "run" / "models")
        card = zoo.get("own/scheme_2/tiny")
        return load_network(card, WeightStore(zoo, tmp_path / "cache").ensure(card)).state_dict()

    trained, mixed = stored(0.0), stored(0.25)
    zoo = read_zoo(ASSETS / "zoo.json")
    card = zoo.get("preview/scheme_2/v5")
    begun = load_network(card, WeightStore(zoo, tmp_path / "cache").ensure(card)).state_dict()
    for key, tensor in mixed.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.75 * trained[key] + 0.25 * begun[key], rtol=1e-5, atol=1e-7)
    key = "classifier.0.U.weight"
    assert not torch.equal(trained[key], begun[key])

    config.write_text(text.replace(start, f"{start}share_of_start = 0.5\nearlier = 'preview/scheme_1/v4'\n"))
    refused = run("train", "finetune", str(config), "--resume")
    assert refused.returncode == 1
    assert "earlier is preview/scheme_1/v4, of scheme_1" in refused.stderr
    # What was just written takes the start's place: 0.5 trained + 0.5 (0.75 trained + 0.25 begun).
    models = {"LOWRANK_MODELS_DIR": str(tmp_path / "run" / "models")}
    again = stored(0.5, "earlier = 'own/scheme_2/tiny'", **models)
    torch.testing.assert_close(again[key], 0.875 * trained[key] + 0.125 * begun[key], rtol=1e-5, atol=1e-7)


def test_an_unknown_start_is_one_sentence(tmp_path: Path) -> None:
    config = folder_with_data(tmp_path)
    config.write_text(config.read_text().replace("[finetune]", '[finetune]\nstart = "preview/scheme_2/v9"'))
    done = run("train", "finetune", str(config))
    assert done.returncode != 0
    assert "There is no model 'preview/scheme_2/v9'" in done.stderr
    assert "Traceback" not in done.stderr


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["network"]


def test_resume_gives_the_same_run(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    env = {"OMP_NUM_THREADS": "1"}
    assert run("train", "reference", str(folder_with_data(one, reference=2)), **env).returncode == 0
    config = folder_with_data(two, reference=2)
    # Stopped in the second epoch: the state is that of the first one's end.
    process = subprocess.Popen(
        [sys.executable, "-m", "lowrank_demo", "train", "reference", str(config)],
        cwd=ROOT,
        env={**os.environ, **env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("epoch 1 of 2"):
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130, said
    assert said.endswith("stopped; --resume goes on from the last finished epoch.\n")
    assert torch.load(two / "run" / "reference.pt", weights_only=True)["epoch"] == 1
    assert run("train", "reference", str(config), "--resume", **env).returncode == 0
    a, b = weights(one / "run" / "reference.pt"), weights(two / "run" / "reference.pt")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_two_processes_train_together(tmp_path: Path) -> None:
    config = folder_with_data(tmp_path)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "--standalone", "-m", "lowrank_demo", "train", "reference", str(config)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1 of 1: loss") == 1


@pytest.mark.parametrize(("kind", "tolerance"), [("int8", 1 / 127), ("float16", 1e-3), ("float32", 0.0)])
def test_stored_weights(kind: str, tolerance: float) -> None:
    from lowrank_demo.nn.state_dict import _dequantise

    torch.manual_seed(0)
    state = LowRankAlexNet("scheme_1", [2, 3, 4, 5, 6, 7, 8, 9]).state_dict()
    restored = _dequantise(quantised(state, kind))
    assert restored.keys() == state.keys()
    for key, tensor in state.items():
        assert restored[key].dtype == tensor.dtype
        assert (restored[key] - tensor).abs().max() <= tolerance * max(float(tensor.abs().max()), 1e-9)


def test_vectors_are_halved_only_where_nothing_is_lost() -> None:
    state = {"mean": torch.tensor([1.5, -0.25]), "var": torch.tensor([1e6, 1.0]), "count": torch.tensor(3)}
    kinds = {key: tensor.dtype for key, tensor in quantised(state, "int8").items()}
    assert kinds == {"mean": torch.float16, "var": torch.float32, "count": torch.int64}
