"""The networks and weights that a stage starts from: an earlier stage's checkpoint, or a model of the zoo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError, UsageError
from ..lowrank.calibration import calibrated
from ..lowrank.load import fetch_network
from ..lowrank.refactor import refactored
from ..models.architecture import Layer
from ..models.download import print_download
from ..models.store import WeightStore
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


def penalty_state(saved: Mapping[str, Any], checkpoint: Path) -> dict[str, Any]:
    """Return the state of the low-rank penalty from what ``compress`` saved in its checkpoint.

    Raises:
        DataError: It is not there: another stage, or an older version of the program, wrote the checkpoint.
    """
    penalty = saved.get("penalty", {})
    if "factors" not in penalty:
        raise DataError(
            f"{checkpoint} holds no low-rank factors; expected a checkpoint that this version's train compress wrote: "
            "delete it and run compress again."
        )
    return penalty


def compressed_network(checkpoint: Path, layers: Sequence[Layer]) -> LowRankAlexNet:
    """Return the factored network that ``compress`` ended with: the factors of Δ, other weights as trained.

    Args:
        checkpoint: ``compress.pt``.
        layers: The dense layers.

    Raises:
        UsageError: The checkpoint is not there.
        DataError: It is damaged, or of another stage.
    """
    state = load_checkpoint(checkpoint)
    penalty = penalty_state(state["stage"], checkpoint)
    weights = dict(state["average"] or state["network"])
    ranks: list[int] = []
    for layer in layers:
        v, u = penalty["factors"][layer.key]
        ranks.append(v.shape[0])
        del weights[f"{layer.key}.weight"]
        bias = weights.pop(f"{layer.key}.bias")
        weights |= {f"{layer.key}.V.weight": v, f"{layer.key}.U.weight": u, f"{layer.key}.U.bias": bias}
    network = LowRankAlexNet(penalty["scheme"], ranks, layers)
    network.load_state_dict(weights)
    return network


def chosen_network(config: RunConfig) -> tuple[LowRankAlexNet, float]:
    """Return the model that ``start`` names, brought to the ranks of ``ranks_of``, and the λ of those ranks.

    Raises:
        UnknownModel: ``start`` or ``ranks_of`` names a model that is not there.
        WeightsError: Its weights cannot be used.
    """
    store = WeightStore.from_settings(Settings.from_environment())
    card = store.zoo.get(config.finetune.start)
    like = store.zoo.get(config.finetune.ranks_of) if config.finetune.ranks_of else card
    network = fetch_network(store, card, print_download)
    if (like.scheme, like.ranks) != (card.scheme, card.ranks):
        if config.finetune.calibration:
            images = evenly_spaced(config.data.train, config.finetune.calibration)
            network = calibrated(network, like.scheme, like.ranks, images)
        else:
            network = refactored(network, like.scheme, like.ranks)
    return network, like.lambda_


def weights_to_share(config: RunConfig, network: LowRankAlexNet) -> dict[str, torch.Tensor]:
    """Return the weights that ``share_of_start`` keeps a share of: those of ``earlier``, or else the network's own.

    Raises:
        UnknownModel: ``earlier`` names a model that is not there.
        UsageError: ``earlier`` names a model of another scheme or other ranks.
    """
    if config.finetune.earlier:
        store = WeightStore.from_settings(Settings.from_environment())
        card = store.zoo.get(config.finetune.earlier)
        if (card.scheme, card.ranks) != (network.scheme, network.ranks):
            raise UsageError(
                f"[finetune] earlier is {card.id}, of {card.scheme} and ranks {list(card.ranks)}; expected a model "
                f"with the scheme and ranks of start: {network.scheme}, {list(network.ranks)}."
            )
        network = fetch_network(store, card, print_download)
    return {name: value.clone() for name, value in network.state_dict().items()}
