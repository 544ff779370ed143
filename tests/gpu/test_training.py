"""Training in bf16 on the GPU, and a resumed run against runs that were not stopped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.lowrank.load import fetch_network
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.runtime.processes import Processes
from lowrank_demo.settings import Settings
from lowrank_demo.train.batches import Batches, LmdbImages
from lowrank_demo.train.config import DataConfig, StageConfig
from lowrank_demo.train.trainer import Trainer
from tests.bench.material import write_records
from tests.gpu.conftest import GPU

pytestmark = pytest.mark.gpu
STEPS, BATCH = (20, 16) if GPU else (2, 2)
"""Steps of a run, in two epochs, and images of each."""


@pytest.fixture
def batches(records: list[Record], tmp_path: Path) -> Batches:
    path = tmp_path / "train.lmdb"
    write_records(path, records, STEPS // 2 * BATCH)
    return Batches(LmdbImages(path, DataConfig(train=path, validation=path), 0), BATCH, 0, seed=0)


@pytest.mark.timeout(300)
def test_training_in_bf16_and_resuming(batches: Batches, zoo: Zoo, settings: Settings, tmp_path: Path) -> None:
    card = zoo.get("bundled/scheme_2/v5")
    stage = StageConfig(epochs=2, precision="bf16", learning_rate=1e-3, warmup_epochs=0, ema=0.9)

    def trainer(checkpoint: str) -> Trainer:
        torch.manual_seed(0)
        network = fetch_network(WeightStore.from_settings(settings), card)
        made = Trainer(network, stage, 2, batches, batches, Processes.join(), tmp_path / checkpoint)
        assert next(made.network.parameters()).is_cuda == GPU
        return made

    def weights(run: Trainer) -> torch.Tensor:
        return torch.cat([value.detach().float().flatten().cpu() for value in run.network.parameters()])

    first = trainer("a.pt")
    before = weights(first)
    losses = [first.train_epoch()]
    first.save()
    losses.append(first.train_epoch())
    straight = weights(first)

    again = trainer("b.pt")
    again.train_epoch()
    again.train_epoch()
    second = weights(again)

    resumed = trainer("a.pt")
    torch.manual_seed(99)
    assert resumed.load() is not None
    assert resumed.epoch == 1
    resumed.train_epoch()

    assert all(math.isfinite(loss) for loss in losses)
    assert losses[1] < losses[0], "the same images again"
    moved = float((straight - before).norm())
    apart, repeated = float((weights(resumed) - straight).norm()), float((second - straight).norm())
    print(
        f"{STEPS} steps in bf16: losses {losses}, weights moved by {moved:.4g}; a resumed run ends {apart:.3g} away, a "
        f"repeated run {repeated:.3g}"
    )
    # On a GPU some sums are added in another order each time, so that no two runs are equal.
    assert apart <= 3 * repeated + 1e-6 * moved
    assert 0 <= resumed.validate().top1_error <= 100
