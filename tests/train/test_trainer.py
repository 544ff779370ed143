"""Averaged weights, and checkpoints that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lowrank_demo.errors import DataError, LowRankError, UsageError
from lowrank_demo.runtime.processes import Processes
from lowrank_demo.train.batches import Batches, LmdbImages
from lowrank_demo.train.config import DataConfig, StageConfig
from lowrank_demo.train.trainer import Trainer, load_checkpoint
from tests.helpers.lmdb_files import build_long_lmdb


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trainer") / "train.lmdb"
    build_long_lmdb(path, 8)
    return path


def trainer_for(file: Path, network: nn.Module, stage: StageConfig, checkpoint: Path, epochs: int) -> Trainer:
    images = LmdbImages(file, DataConfig(file, file, smallest_crop=1.0), 0)
    batches, validation = Batches(images, 8, 0, seed=0), Batches(LmdbImages(file, None, 0), 8, 0, seed=None)
    return Trainer(network, stage, epochs, batches, validation, Processes.join(), checkpoint)


def small_network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 1000))


def floats(network: nn.Module) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    return {key: value.clone() for key, value in state.items() if value.is_floating_point()}


def test_the_average_is_exponential_and_starts_with_the_first_weights(file: Path, tmp_path: Path) -> None:
    network = small_network()
    wanted = floats(network)
    trainer = trainer_for(file, network, StageConfig(ema=0.75), tmp_path / "state.pt", 4)
    for _ in range(4):
        trainer.train_epoch()  # one batch
        trained = floats(network)
        wanted = {key: 0.75 * value + 0.25 * trained[key] for key, value in wanted.items()}
    found = trainer.best.state_dict()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-7)
        assert not torch.equal(found[key], network.state_dict()[key])


def test_the_learning_rate_falls_after_each_epoch(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    stage = StageConfig(learning_rate=0.2, learning_rate_decay=0.5, warmup_epochs=0)
    trainer = trainer_for(file, small_network(), stage, path, 4)
    for rate in (0.2, 0.1, 0.05, 0.025):
        trainer.train_epoch()
        trainer.save()
        groups = torch.load(path, weights_only=True)["optimiser"]["param_groups"]
        assert [group["lr"] for group in groups] == pytest.approx([rate, rate])


def test_the_average_is_resumed(file: Path, tmp_path: Path) -> None:
    path, stage = tmp_path / "state.pt", StageConfig(ema=0.75)
    whole = trainer_for(file, small_network(), stage, path, 2)
    whole.train_epoch()
    whole.save({"own": 7})
    whole.train_epoch()
    resumed = trainer_for(file, small_network(), stage, path, 2)
    assert resumed.load() == {"own": 7}
    assert resumed.epoch == 1
    resumed.train_epoch()
    for key, value in whole.best.state_dict().items():
        assert torch.equal(resumed.best.state_dict()[key], value)


def test_without_an_average_the_trained_network_is_kept(file: Path, tmp_path: Path) -> None:
    network = small_network()
    trainer = trainer_for(file, network, StageConfig(), tmp_path / "state.pt", 1)
    assert trainer.best is network
    assert trainer.load() is None, "there is no checkpoint yet"


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (None, UsageError, "run the stage before this one first"),
        (b"PK", DataError, "is damaged"),
        ([1, 2], DataError, "is not the checkpoint"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, content: object, kind: type[LowRankError], sentence: str
) -> None:
    path = tmp_path / "reference.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(kind, match=sentence):
        load_checkpoint(path)
