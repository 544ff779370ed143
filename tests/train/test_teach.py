"""A teacher's kept answers: the same as the teacher's own, and a training that learns from them instead."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowrank_demo.errors import DataError, UsageError
from lowrank_demo.models.architecture import NUM_CLASSES
from lowrank_demo.runtime.processes import Processes
from lowrank_demo.train.answers import Answers, check_crops
from lowrank_demo.train.batches import Batches, LmdbImages
from lowrank_demo.train.config import DataConfig, FinetuneConfig, RunConfig, StageConfig, TeachConfig
from lowrank_demo.train.stages import finetune
from lowrank_demo.train.teach import teach
from lowrank_demo.train.trainer import Trainer
from tests.helpers.commands import run
from tests.helpers.lmdb_files import build_long_lmdb

IMAGES, VIEWS = 11, 3
CPU = torch.device("cpu")


class Colours(nn.Module):
    """A teacher whose answers follow from a crop's colours."""

    calls = 0
    stop_after = 1000

    def forward(self, images: Tensor) -> Tensor:
        Colours.calls += 1
        if Colours.calls > Colours.stop_after:
            raise KeyboardInterrupt
        means = torch.cat([images.mean((2, 3)), images.std((2, 3))], 1)
        directions = torch.randn(6, NUM_CLASSES, generator=torch.Generator().manual_seed(0))
        return means @ directions


TEACHER = f"{__name__}:Colours"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    build_long_lmdb(tmp_path / "train.lmdb", IMAGES)
    monkeypatch.setattr(Colours, "calls", 0)
    data = DataConfig(tmp_path / "train.lmdb", tmp_path / "train.lmdb", batch_size=4, workers=0, views=VIEWS)
    return RunConfig(tmp_path / "run", data, teach=TeachConfig(TEACHER))


def test_answers_are_the_teachers_to_the_crops_that_training_sees(config: RunConfig) -> None:
    answers = Answers(teach(config, False, CPU), VIEWS, IMAGES)
    images = LmdbImages(config.data.train, config.data, config.seed)
    images.answers = answers
    batches = Batches(images, 5, 0, seed=1)
    for epoch in range(VIEWS + 1):
        for pixels, _, kept in batches.epoch(epoch):
            torch.testing.assert_close(kept.float(), Colours()(pixels), rtol=2e-3, atol=2e-3)


def test_a_stopped_computation_is_resumed(config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = np.load(teach(config, False, CPU))
    assert Colours.calls == 9
    other = dataclasses.replace(config, folder=tmp_path / "other")
    monkeypatch.setattr(Colours, "calls", 0)
    monkeypatch.setattr(Colours, "stop_after", 4)
    with pytest.raises(KeyboardInterrupt):
        teach(other, False, CPU)
    left = json.loads((other.folder / "answers.npy.mark").read_text())
    assert left["done"] == IMAGES, "the first view"
    monkeypatch.setattr(Colours, "stop_after", 1000)
    monkeypatch.setattr(Colours, "calls", 0)
    changed = dataclasses.replace(other, seed=1)
    with pytest.raises(DataError, match="holds the answers of another run; delete it"):
        teach(changed, True, CPU)
    assert np.array_equal(np.load(teach(other, True, CPU)), whole)
    assert Colours.calls == 6
    assert sorted(path.name for path in other.folder.iterdir()) == ["answers.npy", "answers.npy.json"]
    with pytest.raises(UsageError, match="already exists; delete it"):
        teach(other, True, CPU)


def test_what_teach_needs_is_named(config: RunConfig) -> None:
    with pytest.raises(UsageError, match=r"\[teach\] teacher is not set"):
        teach(dataclasses.replace(config, teach=TeachConfig()), False, CPU)
    with pytest.raises(UsageError, match=r"\[data\] views is not set"):
        teach(dataclasses.replace(config, data=dataclasses.replace(config.data, views=0)), False, CPU)


def test_answers_to_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.npy"
    with pytest.raises(UsageError, match="run train teach first"):
        Answers(path, 1, 2)
    path.write_bytes(b"text")
    with pytest.raises(DataError, match=r"answers\.npy cannot be read as a NumPy array"):
        Answers(path, 1, 2)
    np.save(path, np.zeros((1, 3, NUM_CLASSES), np.float16))
    with pytest.raises(DataError, match=r"float16 \[1, 3, 1000\]; expected float16 \[1, 2, 1000\], for 1 view of 2 im"):
        Answers(path, 1, 2)


def test_answers_to_other_crops_are_refused(config: RunConfig) -> None:
    path = teach(config, False, CPU)
    check_crops(path, config.data, config.seed)
    whole = dataclasses.replace(config.data, smallest_crop=0.9)
    found = rf"crops with smallest_crop = {config.data.smallest_crop}; this run has smallest_crop = 0\.9"
    with pytest.raises(DataError, match=found):
        check_crops(path, whole, config.seed)
    stage = FinetuneConfig(answers=path, teacher_weight=1.0, start=("bundled/scheme_2/v5",))
    with pytest.raises(DataError, match="crops with seed = 0; this run has seed = 3"):
        finetune(dataclasses.replace(config, seed=3, finetune=stage), False, Processes.join())
    beside = path.with_suffix(".npy.json")
    beside.write_text("[1]")
    with pytest.raises(DataError, match="seed = None"):
        check_crops(path, config.data, config.seed)
    beside.unlink()  # answers of an earlier program have none
    check_crops(path, whole, config.seed)


def test_training_learns_the_same_from_kept_answers_as_from_the_teacher(config: RunConfig, tmp_path: Path) -> None:
    """Without a label: here they are wrong on purpose, and another loss would follow them."""
    answers = Answers(teach(config, False, CPU), VIEWS, IMAGES)

    def trained(stage: StageConfig, kept: Answers | None) -> list[float]:
        torch.manual_seed(1)
        network = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, NUM_CLASSES))
        images = LmdbImages(config.data.train, config.data, config.seed, labelled=False)
        images.answers = kept
        trainer = Trainer(
            network,
            stage,
            4,
            Batches(images, 5, 0, seed=0),
            Batches(LmdbImages(config.data.train, None, 0), 8, 0, seed=None),
            Processes.join(),
            tmp_path / "state.pt",
        )
        return [trainer.train_epoch() for _ in range(4)]

    common = StageConfig(learning_rate=0.01, teacher_weight=1.0, temperature=1.0)
    asked = trained(dataclasses.replace(common, teacher=TEACHER), None)
    kept = trained(common, answers)
    assert kept == pytest.approx(asked, rel=1e-2)
    assert kept[-1] < 0.95 * kept[0]


def test_from_the_command_line(config: RunConfig) -> None:
    file = config.folder.with_suffix(".toml")
    file.write_text(
        '[data]\ntrain = "train.lmdb"\nvalidation = "train.lmdb"\nviews = 1\nworkers = 0\n'
        f'[teach]\nteacher = "{TEACHER}"\n'
    )
    done = run("train", "teach", str(file))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(config.folder / "answers.npy")
    assert np.load(config.folder / "answers.npy").shape == (1, IMAGES, NUM_CLASSES)
