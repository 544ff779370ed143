"""Whole runs: on a small AlexNet in this process, on the full one through the command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pytest
import torch

from lowrank_demo.errors import DataError, NotWritten, UsageError
from lowrank_demo.lowrank.calibration import calibrated
from lowrank_demo.lowrank.history import read_history
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.lowrank.refactor import refactored
from lowrank_demo.models.architecture import LAYERS, network_cost
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.runtime.processes import Processes
from lowrank_demo.settings import ASSETS
from lowrank_demo.train import stages
from lowrank_demo.train.batches import LmdbImages
from lowrank_demo.train.config import read_config
from lowrank_demo.train.start import chosen_starts, kept_weights
from lowrank_demo.train.trainer import Trainer
from tests.helpers.commands import run
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.models import own_model
from tests.helpers.paths import ROOT
from tests.helpers.photos import photo_path
from tests.helpers.small_alexnet import SMALL_LAYERS

Stage = Literal["reference", "compress", "finetune"]
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
epochs = {step_epochs}
learning_rate = 0.001
[finetune]
epochs = {finetune}
learning_rate = 0.001
ema = 0.5
label_smoothing = 0.1
[output]
family = "own"
version = "tiny"
licence = "CC0"
note = "A test."
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the two files that a run reads."""
    build_long_lmdb(tmp_path / "train.lmdb", 17)
    build_long_lmdb(tmp_path / "val.lmdb", 9)
    return tmp_path


def configure(folder: Path, more: Mapping[str, str] | None = None, **epochs: int) -> Path:
    """Write the run's file.

    Args:
        folder: Where it is written.
        more: Lines to add, by section.
        epochs: ``reference``, ``steps``, ``step_epochs`` and ``finetune``; 2 steps, of which the second has an L step,
            and 1 of the others unless they are given.
    """
    text = CONFIG.format(**{"reference": 1, "steps": 2, "step_epochs": 1, "finetune": 1, **epochs})
    for section, lines in (more or {}).items():
        text = text.replace(f"[{section}]", f"[{section}]\n{lines}")
    path = folder / "run.toml"
    path.write_text(text)
    return path


def run_small(stage: Stage, config: Path, *, resume: bool = False) -> None:
    """Run a stage on a small AlexNet, in this process."""
    getattr(stages, stage)(read_config(config), resume, Processes.join(), SMALL_LAYERS)


def finetuned(config: Path, *, resume: bool = False) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Fine-tune a full-size model in this process; return its card and its weights."""
    (path,) = stages.finetune(read_config(config), resume, Processes.join())
    zoo = read_zoo(ASSETS / "zoo.json", path.parent)
    card = next(card for card in zoo.cards if card.family == "own")
    return card, weights_of(card.id, path.parent)


def weights_of(model: str, models: Path | None = None) -> dict[str, torch.Tensor]:
    store = WeightStore(read_zoo(ASSETS / "zoo.json", models), Path("unused"))
    card = store.zoo.get(model)
    return load_network(card, store.ensure(card)).state_dict()


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same bits."""

    def equal(a: object, b: object) -> bool:
        if isinstance(a, torch.Tensor):
            return isinstance(b, torch.Tensor) and torch.equal(a, b)
        if isinstance(a, dict):
            return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple):
            return isinstance(b, list | tuple) and len(a) == len(b) and all(map(equal, a, b))
        return a == b

    return equal(torch.load(one, weights_only=True), torch.load(other, weights_only=True))


def test_from_reference_to_a_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure(folder)
    early = run("train", "compress", str(config))
    assert early.returncode == 1
    assert "run the stage before this one first" in early.stderr
    run_small("reference", config)
    assert "epoch 1 of 1: loss" in capsys.readouterr().out
    again = run("train", "reference", str(config))
    assert again.returncode == 1
    assert "--resume" in again.stderr

    run_small("compress", config)
    said = capsys.readouterr().out
    assert "C step 0: mu 10," in said
    assert said.index("C step 0") < said.index("epoch 1 of 1") < said.index("C step 1: mu 12,")
    # The run is made longer and goes on where it was.
    configure(folder, steps=3)
    run_small("compress", config, resume=True)
    said = capsys.readouterr().out
    assert said.index("epoch 2 of 2") < said.index("C step 2: mu 14.4,")
    assert "C step 1" not in said
    history = read_history(folder / "run" / "history.json")
    assert [step.mu for step in history.steps] == pytest.approx([10.0, 12.0, 14.4])
    assert [step.lambda_ for step in history.steps] == [20.0] * 3
    for step in history.steps:
        cost = network_cost("scheme_2", [max(rank, 1) for rank in step.ranks], SMALL_LAYERS)
        assert (step.macs, step.storage) == (cost.macs, cost.params)
        assert step.distance
        assert step.loss
    assert history.best is not None
    ranks = history.steps[history.best].ranks
    assert min(ranks) == 0 < max(ranks), "a layer is dropped, and one is kept"

    run_small("finetune", config)
    models = folder / "run" / "models"
    zoo = read_zoo(ASSETS / "zoo.json", models)
    card = zoo.get("own/scheme_2/tiny")
    assert list(card.ranks) == [max(rank, 1) for rank in ranks]
    assert (card.lambda_, card.licence, card.note) == (20.0, "CC0", "A test.")
    load_network(card, WeightStore(zoo, folder / "cache").ensure(card), SMALL_LAYERS)
    assert card.history
    kept = read_history(Path(card.history))
    assert kept == history


def test_a_price_so_low_that_the_network_grows_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configure(folder, steps=1)
    run_small("reference", config)
    run_small("compress", config)
    assert "more than the dense network's" not in capsys.readouterr().out
    (folder / "run" / "compress.pt").unlink()
    config.write_text(config.read_text().replace("lambda = 20.0", "lambda = 0.0"))
    run_small("compress", config)
    (step,) = read_history(folder / "run" / "history.json").steps
    dense = sum(layer.macs for layer in SMALL_LAYERS)
    assert step.macs > dense
    sentence = f"takes {step.macs / 1e6:.1f} MMACs, more than the dense network's {dense / 1e6:.1f}: raise lambda."
    assert sentence in capsys.readouterr().out


def test_fine_tuning_starts_from_the_network_that_the_history_measured(folder: Path) -> None:
    """Without training to speak of, the model computes what the best C step's low-rank weights compute."""
    config = configure(folder, {"output": "format = 'float32'"})
    config.write_text(config.read_text().replace("learning_rate = 0.001\nema", "learning_rate = 1e-12\nema"))
    for stage in ("reference", "compress", "finetune"):
        run_small(stage, config)
    checkpoint = torch.load(folder / "run" / "compress.pt", weights_only=True)
    store = WeightStore(read_zoo(ASSETS / "zoo.json", folder / "run" / "models"), folder / "cache")
    card = store.zoo.get("own/scheme_2/tiny")
    weights = load_network(card, store.ensure(card), SMALL_LAYERS).state_dict()
    best = checkpoint["stage"]["best"]
    for key in (f"{layer.key}.{name}.weight" for layer in SMALL_LAYERS for name in "UV"):
        torch.testing.assert_close(weights[key], best["network"][key])
    history = read_history(folder / "run" / "history.json")
    step = history.steps[best["step"]]
    assert history.best == best["step"]
    assert list(card.ranks) == [max(rank, 1) for rank in step.ranks]
    network = LowRankAlexNet(best["scheme"], card.ranks, SMALL_LAYERS)
    network.load_state_dict(best["network"])
    images = LmdbImages(folder / "val.lmdb", None, 0)
    pixels = torch.stack([images[index][0] for index in range(len(images))])
    labels = torch.tensor([images[index][1] for index in range(len(images))])
    with torch.inference_mode():
        logits = network.eval()(pixels)
    assert step.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-4)
    assert step.compressed_error == pytest.approx(100 * float((logits.argmax(1) != labels).float().mean()), rel=1e-5)


def test_a_checkpoint_of_another_kind_is_refused(folder: Path) -> None:
    config = configure(folder)
    run_small("reference", config)
    (folder / "run" / "compress.pt").write_bytes((folder / "run" / "reference.pt").read_bytes())
    with pytest.raises(DataError, match=r"compress\.pt holds no low-rank factors"):
        run_small("compress", config, resume=True)
    with pytest.raises(DataError, match=r"compress\.pt holds no low-rank factors"):
        run_small("finetune", config)


def test_a_file_that_cannot_be_written_costs_no_epoch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder stands where the history goes, a file where the models' folder does.

    The first C step writes the history, before any epoch.
    """
    config, run_folder = configure(folder), folder / "run"
    run_small("reference", config)
    (run_folder / "history.json").mkdir()
    (run_folder / "models").touch()
    obstacles: dict[Stage, tuple[str, str]] = {
        "compress": ("history.json", "C step 0"),
        "finetune": ("models", "epoch 1 of 1"),
    }
    for stage, (obstacle, done) in obstacles.items():
        with pytest.raises(NotWritten, match=rf"{obstacle}.* could not be written \(.*; free space, then --resume"):
            run_small(stage, config)
        assert done in capsys.readouterr().out
        (run_folder / obstacle).rename(run_folder / f"aside-{stage}")
        run_small(stage, config, resume=True)
        assert done not in capsys.readouterr().out, "it was done already"
        assert (run_folder / obstacle).exists()


@pytest.mark.parametrize(("stage", "epochs"), [("reference", 1), ("compress", 2), ("compress", 3), ("finetune", 1)])
def test_a_resumed_run_has_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, epochs: int
) -> None:
    """Stopped in the middle: for compress before a C step, and within the L step after it."""
    config = configure(folder, reference=2, steps=3, step_epochs=2, finetune=2)
    before: dict[Stage, list[Stage]] = {
        "reference": [],
        "compress": ["reference"],
        "finetune": ["reference", "compress"],
    }
    for earlier in before[stage]:
        run_small(earlier, config)
    run_small(stage, config)
    checkpoint, history = folder / "run" / f"{stage}.pt", folder / "run" / "history.json"
    checkpoint.rename(folder / "whole.pt")
    wanted = history.read_bytes() if stage == "compress" else b""

    def stop(trainer: Trainer, *_: object) -> None:
        if trainer.epoch == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "report", stop)
        with pytest.raises(KeyboardInterrupt):
            run_small(stage, config)
    assert torch.load(checkpoint, weights_only=True)["epoch"] == epochs
    history.unlink(missing_ok=True)
    run_small(stage, config, resume=True)
    assert same(checkpoint, folder / "whole.pt")
    assert not wanted or history.read_bytes() == wanted


def test_the_schedules_of_the_authors_scripts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each μ twice, the learning rate restarting on L, Xavier's weights, decay of the products."""
    lines = {
        "reference": 'initialisation = "xavier"',
        "compress": 'mu_repeats = 2\ndecay_restarts = true\nlearning_rate_decay = 0.5\ncost = "original"',
        "finetune": 'weight_decay_of = "product"\nweight_decay = 0.1',
    }
    config = configure(folder, lines, step_epochs=2)
    run_small("reference", config)
    bound = (6 / (3 * 121 + 16 * 121)) ** 0.5
    weight = kept_weights(folder / "run" / "reference.pt")["features.0.weight"]
    assert 0.9 * bound < float(weight.abs().max()) < 1.1 * bound
    rates: list[float] = []
    whole_epoch = Trainer.train_epoch

    def noted(trainer: Trainer, extra_loss: Callable[[], torch.Tensor], rate: float) -> float:
        rates.append(rate)
        return whole_epoch(trainer, extra_loss, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", noted)
        run_small("compress", config)
    assert rates == [1.0, 0.5] * 3
    history = read_history(folder / "run" / "history.json")
    assert [step.mu for step in history.steps] == [10.0, 10.0, 12.0, 12.0]
    assert history.cost == "original"
    run_small("finetune", config)
    state = torch.load(folder / "run" / "finetune.pt", weights_only=True)
    assert all(group["weight_decay"] == 0 for group in state["optimiser"]["param_groups"])


def test_an_l_step_begins_without_momentum_unless_it_is_told_to(folder: Path) -> None:
    found: list[torch.Tensor] = []
    for fresh in ("true", "false"):
        config = configure(folder, {"compress": f"fresh_optimiser = {fresh}"}, steps=3)
        if not found:
            run_small("reference", config)
        run_small("compress", config)
        state = torch.load(folder / "run" / "compress.pt", weights_only=True)
        found.append(state["network"]["classifier.8.weight"])
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("calibration", [0, 4])
def test_finetune_starts_from_a_model_at_another_ones_ranks(
    folder: Path, calibration: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = own_model(folder / "models")
    monkeypatch.setenv("LOWRANK_MODELS_DIR", str(models))
    start = 'start = "own/scheme_2/mine"\nranks_of = "published/scheme_1/v4"\nfrozen_layers = 2'
    lines = {"finetune": f"{start}\ncalibration = {calibration}", "output": 'format = "float32"'}
    config = configure(folder, lines)
    card, trained = finetuned(config)
    zoo = read_zoo(ASSETS / "zoo.json", models)
    like, start = zoo.get("published/scheme_1/v4"), zoo.get("own/scheme_2/mine")
    assert card.scheme == "scheme_1"
    assert (card.ranks, card.lambda_, card.history) == (like.ranks, like.lambda_, None)
    torch.manual_seed(5)
    network = load_network(start, WeightStore(zoo, folder / "cache").ensure(start))
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


def test_nested_versions_share_one_file_that_training_continues_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = 'start = "bundled/scheme_2/v5"\nranks_of = ["scheme_2/v5", "scheme_1/v4", "scheme_2/v4"]\ncalibration = 8'
    config = configure(folder, {"finetune": start})
    cards = stages.finetune(read_config(config), False, Processes.join())
    assert len(re.findall(r"[ \d.]+,[ \d.]+,[ \d.]+ %$", capsys.readouterr().out.strip())) == 1, "an error for each"
    models = folder / "run" / "models"
    assert [path.name for path in cards] == [
        "own-scheme_2-v5.card.json",
        "own-scheme_1-v4.card.json",
        "own-scheme_2-v4.card.json",
    ]
    zoo = read_zoo(ASSETS / "zoo.json", models)
    store = WeightStore(zoo, folder / "cache")
    own = [zoo.get(f"own/{name}") for name in ("scheme_2/v5", "scheme_1/v4", "scheme_2/v4")]
    assert len({card.weights for card in own}) == 1
    assert [card.ranks for card in own] == [zoo.get(f"published/{card.scheme}/{card.version}").ranks for card in own]
    assert [len(card.measured) for card in own] == [1, 1, 1]
    v5, v4, wide = (load_network(card, store.ensure(card)).state_dict() for card in own)
    shared = "classifier.4.V.weight"
    assert torch.equal(v5[shared], wide[shared][:349])
    assert torch.equal(v5[shared], v4[shared][:349])
    assert torch.equal(v5["features.4.V.weight"], wide["features.4.V.weight"][:28])
    assert not torch.equal(v5["features.4.U.weight"], wide["features.4.U.weight"][:, :28])

    # Ranks between two versions use the mean of their tensors.
    between = zoo.get("own/scheme_2@7-28-70-75-90-550-400-270")
    assert between.id == "own/scheme_2/v4@7-28-70-75-90-550-400-270"
    sliced = load_network(between, store.ensure(between)).state_dict()
    (_, one), (_, other) = ((part.version, part.weight) for part in between.parts)
    assert 0 < other < 1
    assert one == pytest.approx(1 - other)
    larger, smaller = (one["features.9.running_mean"] for one in (wide, v5))
    torch.testing.assert_close(sliced["features.9.running_mean"], larger.lerp(smaller, other))
    assert torch.equal(sliced["features.8.V.weight"], wide["features.8.V.weight"][:70])

    monkeypatch.setenv("LOWRANK_MODELS_DIR", str(models))
    again = configure(folder, {"finetune": 'start = "own/scheme_2/v4"\nranks_of = ["scheme_2/v5", "scheme_2/v4"]'})
    begun = chosen_starts(read_config(again))
    assert [(one.like.id, one.network.ranks) for one in begun] == [
        ("published/scheme_2/v5", own[0].ranks),
        ("published/scheme_2/v4", own[2].ranks),
    ]
    for one, state in zip(begun, (v5, wide), strict=True):
        assert all(torch.equal(value, state[key]) for key, value in one.network.state_dict().items())

    twice = configure(folder, {"finetune": 'start = "own/scheme_2/v4"\nranks_of = ["scheme_2/v5", "own/scheme_2/v5"]'})
    with pytest.raises(UsageError, match="ranks_of names scheme_2/v5 twice"):
        chosen_starts(read_config(twice))


def test_an_interrupted_run_is_resumed_and_the_app_takes_its_model(folder: Path) -> None:
    """Through the command line, on the full network: Ctrl-C in the second epoch, then --resume."""
    config = str(configure(folder, {"finetune": 'start = "bundled/scheme_2/v5"'}, finetune=2))
    process = subprocess.Popen(
        [sys.executable, "-m", "lowrank_demo", "train", "finetune", config],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that runs the tests in the background lets its processes ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("epoch 1 of 2"):
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130, said
    assert said.endswith("stopped; --resume continues from the last finished epoch.\n")
    checkpoint = folder / "run" / "finetune.pt"
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 1
    resumed = run("train", "finetune", config, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    found = checkpoint.rename(folder / "resumed.pt")
    finetuned(Path(config))
    assert same(found, checkpoint)

    models = str(folder / "run" / "models")
    listed = run("models", LOWRANK_MODELS_DIR=models)
    assert "own/scheme_2/tiny" in listed.stdout
    answer = run("classify", str(photo_path("lion.jpg")), "--model", "own/scheme_2/tiny", LOWRANK_MODELS_DIR=models)
    assert answer.returncode == 0, answer.stderr
    report = folder / "report.json"
    measured = run(
        *("validate", "--lmdb-file", str(folder / "val.lmdb"), "--models", "own/scheme_2/tiny"),
        *("--json", str(report)),
        LOWRANK_MODELS_DIR=models,
    )
    assert measured.returncode == 0, measured.stderr
    (result,) = json.loads(report.read_text())["models"]
    card = read_zoo(ASSETS / "zoo.json", folder / "run" / "models").get("own/scheme_2/tiny")
    assert result["top1_error"] == pytest.approx(card.measured[0].top1), "the card states what validate measures"


def test_an_unknown_start_is_one_sentence(folder: Path) -> None:
    config = configure(folder, {"finetune": 'start = "bundled/scheme_2/v9"'})
    done = run("train", "finetune", str(config))
    assert done.returncode != 0
    assert 'There is no model "bundled/scheme_2/v9"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRANK_DEVICE", "cuda")
    done = run("train", "reference", str(configure(folder)))
    assert done.returncode == 1
    assert "LOWRANK_DEVICE is cuda, but torch finds 0 GPUs" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_processes_train_together(folder: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*command, "-m", "lowrank_demo", "train", "reference", str(configure(folder))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1 of 1: loss") == 1


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_full_network_from_reference_to_the_app(folder: Path) -> None:
    """All stages through the command line: minutes, nearly all for the decompositions of fc6 and fc7."""
    config = str(configure(folder))
    for stage in ("reference", "compress", "finetune"):
        done = run("train", stage, config)
        assert done.returncode == 0, done.stderr
    models = folder / "run" / "models"
    card = read_zoo(ASSETS / "zoo.json", models).get("own/scheme_2/tiny")
    assert card.history
    history = read_history(Path(card.history))
    assert history.best is not None
    assert list(card.ranks) == [max(rank, 1) for rank in history.steps[history.best].ranks]
    assert len(card.ranks) == len(LAYERS)
    answer = run(
        *("classify", str(photo_path("lion.jpg")), "--model", card.id),
        LOWRANK_MODELS_DIR=str(models),
    )
    assert answer.returncode == 0, answer.stderr
