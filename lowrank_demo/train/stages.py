"""The three stages of a run: reference training, compression (LC algorithm), fine-tuning of the factored network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..errors import DataError, UsageError
from ..lowrank.c_step import Criterion, factorised
from ..lowrank.calibration import calibrated
from ..lowrank.lc import LowRankPenalty, mu_schedule, targets_of
from ..lowrank.load import fetch_network
from ..lowrank.refactor import refactored
from ..models.architecture import LAYERS, Layer
from ..models.download import print_download
from ..models.store import WeightStore
from ..nn.alexnet import DenseAlexNet, LowRankAlexNet
from ..runtime.files import atomic_write
from ..runtime.processes import Processes
from ..settings import Settings
from .config import DataConfig, RunConfig
from .data import Batches, LmdbImages, evenly_spread
from .output import write_model
from .trainer import Hooks, Trainer, load_checkpoint


def reference(config: RunConfig, resume: bool, processes: Processes) -> None:
    """Train the dense network; ends in ``reference.pt``."""
    torch.manual_seed(config.seed)
    network = DenseAlexNet()
    _trainer(config, "reference", network, config.reference.epochs, processes, Hooks()).run(resume)


def compress(config: RunConfig, resume: bool, processes: Processes) -> None:
    """Alternate L and C steps over the growing μ; ends in ``compress.pt`` and ``history.json``.

    Raises:
        DataError: There is no reference to start from.
    """
    torch.manual_seed(config.seed)
    stage = config.compress
    network = DenseAlexNet()
    network.load_state_dict(_kept(config.folder / "reference.pt"))
    network.to(processes.device)
    penalty = LowRankPenalty(
        targets_of(network, torch.zeros(1, 3, 227, 227, device=processes.device)),
        scheme=stage.scheme,
        criterion=cast("Criterion", stage.criterion),
        lambda_=stage.lambda_,
        normalised=stage.normalised,
        augmented=stage.augmented,
    )
    schedule = mu_schedule(stage.first_mu, stage.mu_growth, stage.steps)
    history: list[dict[str, Any]] = []
    mu = schedule[0]

    def c_step(step: int) -> None:
        ranks = penalty.c_step(schedule[step])
        for name in ranks:
            penalty.delta[name] = processes.broadcast(penalty.delta[name].contiguous())
        history.append({"step": step, "mu": schedule[step], "ranks": ranks, "macs": penalty.macs()})
        if processes.rank == 0:
            kept = " ".join(str(rank) for rank in ranks.values())
            print(f"C step {step}: mu {schedule[step]:.3g}, ranks {kept}, {penalty.macs() / 1e6:.1f} MMACs", flush=True)

    def before_epoch(epoch: int) -> None:
        nonlocal mu
        mu = schedule[epoch // stage.epochs]
        if epoch % stage.epochs == 0:
            c_step(epoch // stage.epochs)

    def after_epoch(epoch: int, error: float) -> None:
        if epoch % stage.epochs == 0:
            history[-1] |= {"top1_error": error, "distance": penalty.distance()}
            if processes.rank == 0:
                write_json(config.folder / "history.json", _history(config, history))

    def load(state: Mapping[str, Any]) -> None:
        penalty.load({key: _on(value, processes.device) for key, value in state["penalty"].items()})
        history[:] = json.loads(state["history"])

    hooks = Hooks(
        before_epoch=before_epoch,
        extra_loss=lambda: penalty(mu),
        after_epoch=after_epoch,
        state=lambda: {"penalty": penalty.state(), "history": json.dumps(history)},
        load=load,
        rate=lambda epoch: stage.learning_rate_decay ** int(epoch // stage.epochs),
    )
    _trainer(config, "compress", network, stage.steps * stage.epochs, processes, hooks).run(resume)


def finetune(config: RunConfig, resume: bool, processes: Processes) -> Path | None:
    """Factor the compressed network, train it on, and write the model; returns its card's path (first process).

    Raises:
        DataError: There is no compressed network to start from.
        UnknownModel: ``start``, ``ranks_of`` or ``earlier`` names a model that is not there.
        UsageError: ``earlier`` names a model of another shape.
    """
    torch.manual_seed(config.seed)
    network, lambda_ = _start(config)
    earlier = _earlier(config, network) if config.finetune.share_of_start else {}
    frozen = LAYERS[: config.finetune.frozen_layers]
    trainer = _trainer(config, "finetune", network, config.finetune.epochs, processes, Hooks(), frozen)
    trainer.run(resume)
    if processes.rank != 0:
        return None
    if config.finetune.share_of_start:
        _mix(trainer.best, earlier, config.finetune.share_of_start)
    history = None if config.finetune.start else config.folder / "history.json"
    return write_model(config, trainer.best, network.scheme, network.ranks, lambda_, history)


def _start(config: RunConfig) -> tuple[LowRankAlexNet, float]:
    """The factored network to train, and the λ that its ranks were learned with."""
    if config.finetune.start:
        store = WeightStore.from_settings(Settings.from_environment())
        card = store.zoo.get(config.finetune.start)
        like = store.zoo.get(config.finetune.ranks_of) if config.finetune.ranks_of else card
        network = fetch_network(store, card, print_download)
        if (like.scheme, like.ranks) != (card.scheme, card.ranks):
            if config.finetune.calibration:
                images = evenly_spread(config.data.train, config.finetune.calibration)
                network = calibrated(network, like.scheme, like.ranks, images)
            else:
                network = refactored(network, like.scheme, like.ranks)
        return network, like.lambda_
    checkpoint = load_checkpoint(config.folder / "compress.pt")
    penalty, scheme = checkpoint["stage"]["penalty"], config.compress.scheme
    ranks = [max(int(penalty["ranks"][layer.key]), 1) for layer in LAYERS]
    network = LowRankAlexNet(scheme, ranks)
    network.load_state_dict(_factored_state(checkpoint, scheme, ranks))
    return network, config.compress.lambda_


def _earlier(config: RunConfig, network: LowRankAlexNet) -> dict[str, torch.Tensor]:
    """The weights that a share is kept of."""
    if config.finetune.earlier:
        store = WeightStore.from_settings(Settings.from_environment())
        card = store.zoo.get(config.finetune.earlier)
        if (card.scheme, card.ranks) != (network.scheme, network.ranks):
            raise UsageError(
                f"[finetune] earlier is {card.id}, of {card.scheme} and ranks {card.ranks}; expected a model of the "
                f"start's: {network.scheme}, {network.ranks}."
            )
        network = fetch_network(store, card, print_download)
    return {name: value.clone() for name, value in network.state_dict().items()}


@torch.no_grad()
def _mix(network: nn.Module, earlier: Mapping[str, torch.Tensor], share: float) -> None:
    """Bring the network's weights back towards earlier ones by this share of the way."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(earlier[name].to(value.device), share)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, all or nothing."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _factored_state(checkpoint: Mapping[str, Any], scheme: str, ranks: list[int]) -> dict[str, torch.Tensor]:
    """The low-rank network's state_dict: Δ factored, batch normalisation and biases as they are."""
    dense = checkpoint["average"] or checkpoint["network"]
    state = dict(dense)
    for layer, rank in zip(LAYERS, ranks, strict=True):
        module = (
            nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding)
            if layer.kind == "conv"
            else nn.Linear(layer.inputs, layer.outputs)
        )
        module.weight.data = checkpoint["stage"]["penalty"]["delta"][layer.key]
        assert module.bias is not None
        module.bias.data = state.pop(f"{layer.key}.bias")
        del state[f"{layer.key}.weight"]
        pair = factorised(module, scheme, rank)
        state |= {f"{layer.key}.{name}": tensor for name, tensor in pair.state_dict().items()}
    return state


def _trainer(
    config: RunConfig,
    name: str,
    network: nn.Module,
    epochs: int,
    processes: Processes,
    hooks: Hooks,
    frozen: Sequence[Layer] = (),
) -> Trainer:
    config.folder.mkdir(parents=True, exist_ok=True)
    data = config.data
    share = max(1, data.batch_size // processes.world)

    def batches(path: Path, augmentation: DataConfig | None, seed: int | None) -> Batches:
        images = LmdbImages(path, augmentation, config.seed)
        return Batches(images, share, data.workers, rank=processes.rank, world=processes.world, seed=seed)

    return Trainer(
        network,
        getattr(config, name),
        epochs,
        batches(data.train, data, config.seed),
        batches(data.validation, None, None),
        processes,
        config.folder / f"{name}.pt",
        hooks,
        frozen,
    )


def _kept(path: Path) -> dict[str, torch.Tensor]:
    """The weights that a stage ended with: the averaged ones where there are any."""
    state = load_checkpoint(path)
    try:
        return state["average"] or state["network"]
    except KeyError as error:
        raise DataError(f"{path} is not a checkpoint of a training stage; run that stage again.") from error


def _history(config: RunConfig, steps: list[dict[str, Any]]) -> dict[str, Any]:
    stage = config.compress
    return {
        "format": 1,
        "scheme": stage.scheme,
        "criterion": stage.criterion,
        "lambda": stage.lambda_,
        "layers": [layer.name for layer in LAYERS],
        "steps": [{**step, "ranks": list(step["ranks"].values())} for step in steps],
    }


def _on(values: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in values.items()}
