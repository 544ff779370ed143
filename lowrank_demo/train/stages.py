"""The three stages of a run: reference training, compression (LC algorithm), fine-tuning of the factored network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..errors import UsageError
from ..lowrank import lc
from ..lowrank.c_step import Criterion
from ..models.architecture import INPUT_SIZE, LAYERS, Layer
from ..nn.alexnet import DenseAlexNet, LowRankAlexNet
from ..runtime.files import atomic_write
from ..runtime.processes import Processes
from .batches import Batches, LmdbImages
from .config import DataConfig, RunConfig, StageConfig
from .output import write_model
from .start import chosen_network, compressed_network, kept_weights, penalty_state, weights_to_share
from .trainer import Trainer


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
                if processes.rank == 0:
                    _write_history(config, layers, history)
            trainer.save({"penalty": penalty.state(), "history": json.dumps(history)})
            trainer.report(loss, error)

    schedule = lc.mu_schedule(stage.first_mu, stage.mu_growth, stage.steps)
    lc.run(penalty, schedule, l_step, c_steps_done=math.ceil(trainer.epoch / stage.epochs))


def finetune(config: RunConfig, resume: bool, processes: Processes, layers: Sequence[Layer] = LAYERS) -> Path | None:
    """Train the factored network and write it as a model.

    Returns:
        The path of its card, in the first process; None in the others.

    Raises:
        UsageError: There is no compressed network to start from, ``start``, ``ranks_of`` or ``earlier`` names a model
            that is not there, or ``earlier`` names one of another scheme or other ranks.
        DataError: The compressed network is damaged.
    """
    torch.manual_seed(config.seed)
    stage = config.finetune
    if stage.start:
        (network, lambda_), history = chosen_network(config), None
    else:
        network, lambda_ = compressed_network(config.folder / "compress.pt", layers), config.compress.lambda_
        history = config.folder / "history.json"
    earlier = weights_to_share(config, network) if stage.share_of_start else {}
    frozen = layers[: stage.frozen_layers]
    trainer = _trainer(config, "finetune", stage, stage.epochs, network, processes, frozen)
    _train(trainer, resume)
    if processes.rank != 0:
        return None
    trained = trainer.best
    assert isinstance(trained, LowRankAlexNet)
    if stage.share_of_start:
        _mix(trained, earlier, stage.share_of_start)
    return write_model(config, trained, lambda_, history)


def _train(trainer: Trainer, resume: bool) -> None:
    """Train to the last epoch, saving after each."""
    if resume:
        trainer.load()
    while trainer.epoch < trainer.epochs:
        loss = trainer.train_epoch()
        error = trainer.validate()
        trainer.save()
        trainer.report(loss, error)


def _trainer(
    config: RunConfig,
    name: str,
    stage: StageConfig,
    epochs: int,
    network: nn.Module,
    processes: Processes,
    frozen: Sequence[Layer] = (),
) -> Trainer:
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder of the run, {str(config.folder)[:200]}, cannot be made ({error.strerror}); expected a folder "
            "that this process can write to."
        ) from error
    data = config.data
    batch_size = max(1, data.batch_size // processes.world)

    def batches(path: Path, augmentation: DataConfig | None, seed: int | None) -> Batches:
        images = LmdbImages(path, augmentation, config.seed)
        return Batches(images, batch_size, data.workers, rank=processes.rank, world=processes.world, seed=seed)

    return Trainer(
        network,
        stage,
        epochs,
        batches(data.train, data, config.seed),
        batches(data.validation, None, None),
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
    with atomic_write(config.folder / "history.json") as temporary:
        temporary.write_text(json.dumps(history, indent=1), encoding="utf-8")


@torch.no_grad()
def _mix(network: nn.Module, earlier: Mapping[str, torch.Tensor], share: float) -> None:
    """Move the network's weights towards earlier ones by this share of the way."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(earlier[name].to(value.device), share)
