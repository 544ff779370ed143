"""The three stages of a run: reference training, compression (LC algorithm), fine-tuning of the factored network."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..errors import UsageError
from ..lowrank import lc
from ..lowrank.c_step import Criterion
from ..lowrank.calibration import measure_each
from ..models.architecture import INPUT_SIZE, LAYERS, Layer
from ..nn.alexnet import DenseAlexNet, LowRankAlexNet
from ..nn.nested import NestedAlexNet, Version, merged
from ..runtime.outputs import check_folder
from ..runtime.processes import Processes
from .answers import Answers
from .batches import Batches, LmdbImages, evenly_spaced
from .config import RunConfig, StageConfig
from .output import write_model, write_nested, writing
from .start import Start, chosen_starts, compressed_network, kept_weights, penalty_state
from .trainer import Trainer

STATISTICS_IMAGES = 1024
"""Training images that a trained version's batch normalisation is measured on."""


def reference(config: RunConfig, resume: bool, processes: Processes, layers: Sequence[Layer] = LAYERS) -> None:
    """Train the dense network; the result is in ``reference.pt``."""
    torch.manual_seed(config.seed)
    stage = config.reference
    trainer = _trainer(config, "reference", stage, stage.epochs, DenseAlexNet(layers), processes)
    _train(trainer, resume)


def compress(config: RunConfig, resume: bool, processes: Processes, layers: Sequence[Layer] = LAYERS) -> None:
    """Learn the ranks: alternate C and L steps over the growing μ; the results are ``compress.pt``, ``history.json``.

    Raises:
        UsageError: There is no reference to start from.
        DataError: The reference is damaged, or the checkpoint to resume is not one of compression.
    """
    torch.manual_seed(config.seed)
    stage = config.compress
    weights = kept_weights(config.folder / "reference.pt")
    network = DenseAlexNet(layers)
    network.load_state_dict(weights)
    network.to(processes.device)
    penalty = lc.LowRankPenalty(
        lc.targets_of(network, torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE, device=processes.device)),
        scheme=stage.scheme,
        criterion=cast("Criterion", stage.criterion),
        lambda_=stage.lambda_,
        normalised=stage.normalised,
        augmented=stage.augmented,
        broadcast=processes.broadcast,
    )
    trainer = _trainer(config, "compress", stage, stage.steps * stage.epochs, network, processes)
    history: list[dict[str, Any]] = []
    if resume and (saved := trainer.load()) is not None:
        penalty.load(penalty_state(saved, config.folder / "compress.pt"))
        history = json.loads(saved["history"])

    def keep_history() -> None:
        if processes.rank == 0 and history:
            _write_history(config, layers, history)

    # The checkpoint comes first, so that a history which could not be written costs no epoch.
    keep_history()

    def l_step(step: int, mu: float) -> None:
        first, end = step * stage.epochs, (step + 1) * stage.epochs
        if trainer.epoch == first and processes.rank == 0:
            ranks = " ".join(str(rank) for rank in penalty.ranks.values())
            print(f"C step {step}: mu {mu:.3g}, ranks {ranks}, {penalty.macs() / 1e6:.1f} MMACs", flush=True)
        while trainer.epoch < end:
            loss = trainer.train_epoch(extra_loss=lambda: penalty(mu), rate=stage.learning_rate_decay**step)
            error = trainer.validate()
            if trainer.epoch == end:
                history.append(
                    {
                        "step": step,
                        "mu": mu,
                        "ranks": list(penalty.ranks.values()),
                        "macs": penalty.macs(),
                        "top1_error": error,
                        "distance": penalty.distance(),
                    }
                )
            trainer.save({"penalty": penalty.state(), "history": json.dumps(history)})
            trainer.report(loss, error)
        keep_history()

    schedule = lc.mu_schedule(stage.first_mu, stage.mu_growth, stage.steps)
    lc.run(penalty, schedule, l_step, c_steps_done=math.ceil(trainer.epoch / stage.epochs))


def finetune(config: RunConfig, resume: bool, processes: Processes, layers: Sequence[Layer] = LAYERS) -> list[Path]:
    """Train the factored network, or several nested ones, and write a model of each.

    Returns:
        The paths of their cards, in the first process; none in the others.

    Raises:
        UsageError: There is no compressed network to start from, or ``start`` or ``ranks_of`` names a model that is not
            there.
        DataError: The compressed network is damaged.
    """
    torch.manual_seed(config.seed)
    stage = config.finetune
    if stage.start:
        starts = chosen_starts(config)
        if isinstance(stage.ranks_of, tuple):
            return _finetune_nested(config, starts, resume, processes)
        network, lambda_, history = starts[0].network, starts[0].like.lambda_, None
    else:
        network, lambda_ = compressed_network(config.folder / "compress.pt", layers), config.compress.lambda_
        history = config.folder / "history.json"
    frozen = layers[: stage.frozen_layers]
    trainer = _trainer(config, "finetune", stage, stage.epochs, network, processes, frozen)
    _train(trainer, resume)
    if processes.rank != 0:
        return []
    trained = trainer.best
    assert isinstance(trained, LowRankAlexNet)
    return [write_model(config, trained, lambda_, history)]


def _finetune_nested(config: RunConfig, starts: Sequence[Start], resume: bool, processes: Processes) -> list[Path]:
    stage = config.finetune
    versions = [Version(one.like.scheme, one.like.version, one.like.ranks) for one in starts]
    states = {version: one.network.state_dict() for version, one in zip(versions, starts, strict=True)}
    layers = starts[0].network.layers
    trainer = _trainer(
        config, "finetune", stage, stage.epochs, NestedAlexNet(versions, merged(states, layers), layers), processes
    )

    def errors() -> list[float]:
        nested = trainer.best
        assert isinstance(nested, NestedAlexNet)
        found: list[float] = []
        for version in versions:
            nested.evaluated = version
            found.append(trainer.validate())
        return found

    _train(trainer, resume, errors)
    if processes.rank != 0:
        return []
    nested = trainer.best
    assert isinstance(nested, NestedAlexNet)
    # The average has seen each version's statistics with weights that have moved since.
    measure_each(nested, evenly_spaced(config.data.train, STATISTICS_IMAGES))
    lambdas = {version: one.like.lambda_ for version, one in zip(versions, starts, strict=True)}
    return write_nested(config, nested, lambdas)


def _train(trainer: Trainer, resume: bool, errors: Callable[[], Sequence[float]] | None = None) -> None:
    """Train to the last epoch, saving after each.

    Args:
        trainer: The trainer.
        resume: Begin after the last saved epoch.
        errors: Measures the network; None measures it as one.
    """
    if resume:
        trainer.load()
    while trainer.epoch < trainer.epochs:
        loss = trainer.train_epoch()
        found = errors() if errors else [trainer.validate()]
        trainer.save()
        trainer.report(loss, *found)


def _trainer(
    config: RunConfig,
    name: str,
    stage: StageConfig,
    epochs: int,
    network: nn.Module,
    processes: Processes,
    frozen: Sequence[Layer] = (),
) -> Trainer:
    check_folder(config.folder, config.folder)
    data = config.data
    batch_size = max(1, data.batch_size // processes.world)

    def batches(images: LmdbImages, seed: int | None, parts: int = 1) -> Batches:
        rank, world = processes.rank, processes.world
        return Batches(images, batch_size, data.workers, rank=rank, world=world, seed=seed, parts=parts)

    labelled = stage.teacher_weight < 1 or not (stage.teacher or stage.answers)
    train = LmdbImages(data.train, data, config.seed, labelled=labelled)
    if stage.answers:
        if not data.views:
            raise UsageError("[data] views is 0; expected the number of views that answers holds.")
        train.answers = Answers(stage.answers, data.views, len(train))
    return Trainer(
        network,
        stage,
        epochs,
        batches(train, config.seed, data.parts),
        batches(LmdbImages(data.validation, None, 0), None),
        processes,
        config.folder / f"{name}.pt",
        frozen,
    )


def _write_history(config: RunConfig, layers: Sequence[Layer], steps: Sequence[Mapping[str, Any]]) -> None:
    """Write ``history.json``, which :func:`~lowrank_demo.lowrank.history.read_history` reads."""
    history = {
        "format": 1,
        "scheme": config.compress.scheme,
        "criterion": config.compress.criterion,
        "lambda": config.compress.lambda_,
        "layers": [layer.name for layer in layers],
        "steps": steps,
    }
    with writing(config.folder / "history.json") as temporary:
        temporary.write_text(json.dumps(history, indent=1), encoding="utf-8")
