"""The networks and weights that a stage starts from: an earlier stage's checkpoint, or a model of the zoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError, UsageError
from ..lowrank.calibration import calibrated
from ..lowrank.load import fetch_network
from ..lowrank.refactor import refactored
from ..models.architecture import LAYERS, Layer
from ..models.cards import ModelCard
from ..models.store import WeightStore
from ..models.transfer import print_download
from ..nn.alexnet import LowRankAlexNet
from ..settings import Settings
from .batches import evenly_spaced
from .config import RunConfig
from .trainer import load_checkpoint


def kept_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a stage ended with: the averaged ones if there are any.

    Raises:
        UsageError: The checkpoint is not there.
        DataError: It is damaged.
    """
    state = load_checkpoint(checkpoint)
    return dict(state["average"] or state["network"])


def lc_state(saved: Mapping[str, Any], checkpoint: Path) -> Mapping[str, Any]:
    """Return what ``compress`` saved in its checkpoint: ``penalty``, ``history`` and ``best``.

    Raises:
        DataError: It is not there: another stage, or an older version of the program, wrote the checkpoint.
    """
    if not {"penalty", "history", "best"} <= saved.keys():
        raise DataError(
            f"{checkpoint} holds no low-rank factors; expected a checkpoint that this version's train compress wrote: "
            "delete it and run compress again."
        )
    return saved


def low_rank_network(
    scheme: str,
    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    dense: Mapping[str, torch.Tensor],
    layers: Sequence[Layer],
) -> LowRankAlexNet:
    """Return the network with these factors, on the CPU.

    Args:
        scheme: Scheme of the factors.
        factors: Weights of ``V`` and ``U``, by the layer's key.
        dense: state_dict of the dense network, which gives biases and batch normalisation.
        layers: The dense layers.
    """
    weights = dict(dense)
    ranks: list[int] = []
    for layer in layers:
        v, u = factors[layer.key]
        ranks.append(v.shape[0])
        del weights[f"{layer.key}.weight"]
        bias = weights.pop(f"{layer.key}.bias")
        weights |= {f"{layer.key}.V.weight": v, f"{layer.key}.U.weight": u, f"{layer.key}.U.bias": bias}
    network = LowRankAlexNet(scheme, ranks, layers)
    network.load_state_dict(weights)
    return network


def compressed_network(checkpoint: Path, layers: Sequence[Layer]) -> LowRankAlexNet:
    """Return the factored network of the best step of ``compress``.

    Args:
        checkpoint: ``compress.pt``.
        layers: The dense layers.

    Raises:
        UsageError: The checkpoint is not there.
        DataError: It is damaged, or of another stage.
    """
    best = lc_state(load_checkpoint(checkpoint)["stage"], checkpoint)["best"]
    ranks = [len(best["network"][f"{layer.key}.V.weight"]) for layer in layers]
    network = LowRankAlexNet(best["scheme"], ranks, layers)
    network.load_state_dict(best["network"])
    return network


@dataclass(frozen=True)
class Start:
    """A network to start from, and the model whose ranks it has."""

    like: ModelCard
    network: LowRankAlexNet


def chosen_starts(config: RunConfig) -> list[Start]:
    """Return the models that ``start`` names at the ranks of the models that ``ranks_of`` names, in their order.

    If a nested start has a version of those ranks, that version is taken unchanged. Convolutions that calibration
    truncates share the components of V within their scheme, so that the networks can be nested.

    Raises:
        UnknownModel: ``start`` or ``ranks_of`` names a model that is not there.
        UsageError: Two models of ``ranks_of`` have the same scheme and version, or convolutions cannot be shared.
        WeightsError: A model's weights cannot be used.
    """
    store = WeightStore.from_settings(Settings.from_environment())
    ids, starts = config.finetune.ranks_of or config.finetune.start, config.finetune.start
    likes = [store.zoo.get(one) for one in ([ids] if isinstance(ids, str) else ids)]
    cards = [store.zoo.get(one) for one in ([starts] * len(likes) if isinstance(starts, str) else starts)]
    names = [f"{like.scheme}/{like.version}" for like in likes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"[finetune] ranks_of names {twice[0]} twice; expected each scheme and version once.")
    images = evenly_spaced(config.data.train, config.finetune.calibration) if config.finetune.calibration else None
    made: dict[ModelCard, LowRankAlexNet] = {}
    bases: dict[str, LowRankAlexNet] = {}
    for like, card in sorted(zip(likes, cards, strict=True), key=lambda pair: -pair[0].cost.macs):
        own = [one for one in store.zoo if one.weights == card.weights and _shape(one) == _shape(like)]
        network = fetch_network(store, own[0] if own else card, print_download)
        if not own and images is not None:
            basis = bases.get(like.scheme)
            _check_basis(like, basis)
            network = calibrated(network, like.scheme, like.ranks, images, basis)
        elif not own:
            network = refactored(network, like.scheme, like.ranks)
        bases.setdefault(like.scheme, network)
        made[like] = network
    return [Start(like, made[like]) for like in likes]


def _check_basis(like: ModelCard, basis: LowRankAlexNet | None) -> None:
    """Refuse a version whose convolutions have more components than those that it is to share."""
    if basis is None:
        return
    for layer, rank, most in zip(LAYERS, like.ranks, basis.ranks, strict=True):
        if layer.kind == "conv" and rank > most:
            raise UsageError(
                f"[finetune] ranks_of: {like.id} has rank {rank} in {layer.name}, but the model of {like.scheme} with "
                f"the most MACs has only {most}; expected no rank above that: add a version with higher ranks."
            )


def _shape(card: ModelCard) -> tuple[str, tuple[int, ...]]:
    return card.scheme, card.ranks
