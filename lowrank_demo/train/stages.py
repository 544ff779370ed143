"""The three stages of a run: reference training, compression (LC algorithm), fine-tuning of the factored network."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..errors import TrainingDiverged, UsageError
from ..lowrank import lc
from ..lowrank.c_step import Cost, Criterion
from ..lowrank.calibration import measure_each
from ..lowrank.factors import product_energy
from ..lowrank.layers import survey
from ..models.architecture import INPUT_SIZE, LAYERS, Layer, network_cost
from ..nn.alexnet import DenseAlexNet, LowRankAlexNet, LowRankLayer
from ..nn.nested import NestedAlexNet, Version, merged
from ..runtime.outputs import check_folder
from ..runtime.processes import Processes
from .answers import Answers, check_crops
from .batches import Batches, LmdbImages, evenly_spaced
from .config import RunConfig, StageConfig
from .output import write_model, write_nested, writing
from .start import Start, chosen_starts, compressed_network, kept_weights, lc_state, low_rank_network
from .trainer import Trainer

STATISTICS_IMAGES = 4096
"""Training images that a trained version's batch normalisation is measured on."""


def reference(config: RunConfig, resume: bool, processes: Processes, layers: Sequence[Layer] = LAYERS) -> None:
    """Train the dense network; the result is in ``reference.pt``."""
    torch.manual_seed(config.seed)
    stage = config.reference
    network = DenseAlexNet(layers)
    if stage.initialisation == "xavier":
        network.apply(_xavier)
    trainer = _trainer(config, "reference", stage, stage.epochs, network, processes)
    _train(trainer, resume)


def compress(config: RunConfig, resume: bool, processes: Processes, layers: Sequence[Layer] = LAYERS) -> None:
    """Learn the ranks: alternate L and C steps over the growing μ; the results are ``compress.pt``, ``history.json``.

    Each C step ends in a low-rank network, which is measured. The best one is kept for fine-tuning: that with the least
    loss on the validation file plus λ · cost, which is what the algorithm minimises.

    Raises:
        UsageError: There is no reference to start from.
        DataError: The reference is damaged, or the checkpoint to resume is not one of compression.
    """
    torch.manual_seed(config.seed)
    stage, device = config.compress, processes.device
    network = DenseAlexNet(layers)
    network.load_state_dict(kept_weights(config.folder / "reference.pt"))
    network.to(device)
    selection = lc.Selection(
        stage.scheme,
        stage.lambda_,
        cast("Criterion", stage.criterion),
        cast("Cost", stage.cost),
        normalised=stage.normalised,
    )
    penalty = lc.LowRankPenalty(
        survey(network, torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE, device=device)).targets,
        selection,
        augmented=stage.augmented,
        broadcast=processes.broadcast,
    )
    schedule = lc.mu_schedule(stage.first_mu, stage.mu_growth, stage.steps, stage.mu_repeats)
    trainer = _trainer(config, "compress", stage, (len(schedule) - 1) * stage.epochs, network, processes)
    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {"objective": math.inf}
    if resume and (saved := trainer.load()) is not None:
        state = lc_state(saved, config.folder / "compress.pt")
        penalty.load(state["penalty"])
        history, best = json.loads(state["history"]), state["best"]

    def save() -> None:
        trainer.save({"penalty": penalty.state(), "history": json.dumps(history), "best": best})

    def keep_history() -> None:
        if processes.rank == 0 and history:
            _write_history(config, layers, history, best["step"])

    # The checkpoint comes first, so that a history which could not be written costs no epoch.
    keep_history()

    def l_step(step: int, mu: float) -> None:
        first = (step - 1) * stage.epochs
        while trainer.epoch < first + stage.epochs:
            if stage.fresh_optimiser and trainer.epoch == first:
                trainer.restart()
            rate = stage.learning_rate_decay ** (trainer.epoch - first if stage.decay_restarts else step)
            loss = trainer.train_epoch(extra_loss=lambda: penalty(mu), rate=rate)
            error = trainer.validate().top1_error
            save()
            trainer.report(loss, error)

    def end_step(step: int, mu: float) -> None:
        nonlocal best
        compressed = low_rank_network(stage.scheme, penalty.factors, trainer.network.state_dict(), layers)
        measured = trainer.validate(compressed.to(device, memory_format=torch.channels_last))  # pyright: ignore[reportCallIssue]
        if not math.isfinite(measured.loss):
            raise TrainingDiverged(
                f"The compressed network's loss became {measured.loss} in LC step {step}; lower the learning rate and "
                "--resume."
            )
        cost = network_cost(stage.scheme, compressed.ranks, layers)
        history.append(
            {
                "step": step,
                "lambda": penalty.lambda_,
                "mu": mu,
                "ranks": list(penalty.ranks.values()),
                "macs": cost.macs,
                "storage": cost.params,
                "loss": measured.loss,
                "compressed_error": measured.top1_error,
                "distance": penalty.distance(),
            }
        )
        objective = measured.loss + penalty.price()
        if objective < best["objective"]:
            best = {
                "objective": objective,
                "step": step,
                "scheme": stage.scheme,
                "network": compressed.cpu().state_dict(),
            }
        save()
        if processes.rank == 0:
            ranks = " ".join(map(str, penalty.ranks.values()))
            print(
                f"C step {step}: mu {mu:.3g}, ranks {ranks}, {cost.macs / 1e6:.1f} MMACs, compressed: "
                f"loss {measured.loss:.4f}, top-1 error {measured.top1_error:.2f} %",
                flush=True,
            )
        keep_history()

    lc.run(penalty, schedule, l_step, end_step, done=len(history))
    macs, dense = history[best["step"]]["macs"], sum(layer.macs for layer in layers)
    if processes.rank == 0 and macs > dense:
        print(
            f"The best step's network takes {macs / 1e6:.1f} MMACs, more than the dense network's {dense / 1e6:.1f}: "
            "raise lambda.",
            flush=True,
        )


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
    product = stage.weight_decay_of == "product"
    optimised = replace(stage, weight_decay=0.0) if product else stage
    trainer = _trainer(config, "finetune", optimised, stage.epochs, network, processes, frozen)
    _train(trainer, resume, extra_loss=(lambda: _product_decay(network, stage.weight_decay)) if product else None)
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
            found.append(trainer.validate().top1_error)
        return found

    _train(trainer, resume, errors)
    if processes.rank != 0:
        return []
    nested = trainer.best
    assert isinstance(nested, NestedAlexNet)
    # Measure the statistics again: the averaged ones come from weights that have changed since.
    measure_each(nested, evenly_spaced(config.data.train, STATISTICS_IMAGES))
    lambdas = {version: one.like.lambda_ for version, one in zip(versions, starts, strict=True)}
    return write_nested(config, nested, lambdas)


def _xavier(module: nn.Module) -> None:
    """Initialise a convolution or linear layer as the authors' reference networks are."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _product_decay(network: nn.Module, decay: float) -> torch.Tensor:
    """Return decay/2 · Σ ‖UV‖² over the layers, the weight decay of the products of their factors."""
    pairs = [module for module in network.modules() if isinstance(module, LowRankLayer)]
    return decay / 2 * torch.stack([product_energy(pair.V.weight, pair.U.weight) for pair in pairs]).sum()


def _train(
    trainer: Trainer,
    resume: bool,
    errors: Callable[[], Sequence[float]] | None = None,
    extra_loss: Callable[[], torch.Tensor] | None = None,
) -> None:
    """Train to the last epoch, saving after each.

    Args:
        trainer: The trainer.
        resume: Begin after the last saved epoch.
        errors: Measures the network; None measures it as one.
        extra_loss: Added to the loss of each batch.
    """
    if resume:
        trainer.load()
    while trainer.epoch < trainer.epochs:
        loss = trainer.train_epoch(extra_loss)
        found = errors() if errors else [trainer.validate().top1_error]
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
        check_crops(stage.answers, data, config.seed)
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


def _write_history(config: RunConfig, layers: Sequence[Layer], steps: Sequence[Mapping[str, Any]], best: int) -> None:
    """Write ``history.json``, which :func:`~lowrank_demo.lowrank.history.read_history` reads."""
    history = {
        "format": 1,
        "scheme": config.compress.scheme,
        "criterion": config.compress.criterion,
        "cost": config.compress.cost,
        "lambda": config.compress.lambda_,
        "layers": [layer.name for layer in layers],
        "best": best,
        "steps": steps,
    }
    with writing(config.folder / "history.json") as temporary:
        temporary.write_text(json.dumps(history, indent=1), encoding="utf-8")
