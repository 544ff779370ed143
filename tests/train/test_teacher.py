"""Teachers: a model by its id, a network by the name of a function, and what a student learns from them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.errors import UnknownModel, UsageError
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.runtime.processes import Processes
from lowrank_demo.settings import Settings
from lowrank_demo.train.batches import Batches, LmdbImages, evenly_spaced
from lowrank_demo.train.config import DataConfig, StageConfig
from lowrank_demo.train.teacher import load_teacher
from lowrank_demo.train.trainer import Trainer
from tests.helpers.lmdb_files import build_long_lmdb

CPU = torch.device("cpu")


def colours_alone() -> nn.Module:
    """A teacher that the trainer finds by this function's name: a thousand classes from three mean colours."""
    torch.manual_seed(7)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))
    nn.init.normal_(network[2].weight)  # pyright: ignore[reportArgumentType]
    return network


def test_a_model_by_its_id_answers_as_the_app_does(zoo: Zoo, settings: Settings) -> None:
    card = zoo.get("bundled/scheme_2/v5")
    images = torch.randn(2, 3, 227, 227)
    teacher = load_teacher(card.id, CPU)
    assert teacher is not None
    network = load_network(card, WeightStore(zoo, settings.cache_dir).ensure(card))
    wanted = Classifier(network, CPU).logits(images)
    torch.testing.assert_close(teacher(images), wanted)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_what_is_not_there_is_one_sentence() -> None:
    assert load_teacher("", CPU) is None
    with pytest.raises(UnknownModel, match='There is no model "bundled/scheme_2/v9"'):
        load_teacher("bundled/scheme_2/v9", CPU)
    for name in ("no_such_package:teacher", f"{__name__}:no_such_function", ":"):
        with pytest.raises(UsageError, match=rf'^The teacher "{name}" cannot be made .*; expected a model\'s id'):
            load_teacher(name, CPU)


def test_a_student_comes_to_answer_as_its_teacher(tmp_path: Path) -> None:
    """The labels have no weight here: only the distillation loss brings the answers together."""
    file = tmp_path / "train.lmdb"
    build_long_lmdb(file, 24)
    config = DataConfig(file, file, smallest_crop=1.0)
    stage = StageConfig(
        optimiser="adamw",
        learning_rate=0.1,
        weight_decay=0.0,
        warmup_epochs=0.0,
        teacher=f"{__name__}:colours_alone",
        teacher_weight=1.0,
        temperature=1.0,
    )
    torch.manual_seed(1)
    student = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1000))
    images = evenly_spaced(file, 24)

    @torch.no_grad()
    def apart() -> float:
        wanted = F.log_softmax(colours_alone()(images), 1)
        answers = copy.deepcopy(student).to(CPU)(images)
        return float(F.kl_div(F.log_softmax(answers, 1), wanted, log_target=True, reduction="batchmean"))

    before = apart()
    trainer = Trainer(
        student,
        stage,
        20,
        Batches(LmdbImages(file, config, 0), 8, 0, seed=0),
        Batches(LmdbImages(file, None, 0), 8, 0, seed=None),
        Processes.join(),
        tmp_path / "state.pt",
    )
    for _ in range(20):
        trainer.train_epoch()
    assert apart() < 0.1 * before
