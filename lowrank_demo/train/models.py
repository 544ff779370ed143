"""Models that a stage begins with or learns from: those of the zoo, by their ids, and teachers from anywhere."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from ..errors import UsageError
from ..nn.alexnet import LowRankAlexNet
from ..nn.fuse import inference_form
from ..nn.state_dict import load_network
from ..progress import print_download
from ..settings import Settings
from ..weights import WeightStore
from ..zoo import ModelCard, Zoo
from ..zoo_file import read_zoo


class KnownModels:
    """The models of the environment's zoo, with their weights."""

    def __init__(self) -> None:
        settings = Settings.from_environment()
        self.zoo: Zoo = read_zoo(settings.zoo, settings.models_dir)
        self._store = WeightStore(self.zoo, settings.cache_dir, settings.hub_repo)

    def load(self, card: ModelCard) -> LowRankAlexNet:
        """The card's network; weights that are not here are downloaded.

        Raises:
            WeightsError: They cannot be had, or are not the card's.
        """
        return load_network(card, self._store.ensure(card, print_download))


def load_teacher(name: str, device: torch.device) -> nn.Module | None:
    """A network whose answers another learns from; None for an empty name.

    Args:
        name: A model's id, or ``package.module:function``, which returns a network with the same inputs and classes.
        device: Where it runs.

    Raises:
        UnknownModel: There is no model of this id.
        UsageError: The function is not there.
    """
    if not name:
        return None
    if ":" not in name:
        models = KnownModels()
        card = models.zoo.get(name)
        return inference_form(models.load(card), card.pre_shrink).to(device)
    module_name, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"The teacher {name!r} cannot be made ({error}); expected a model's id, or package.module:function, which "
            "returns a network."
        ) from error
    return made.to(device).eval().requires_grad_(False)
