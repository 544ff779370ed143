"""Networks that another learns from: models by their ids, functions by their names."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from ..errors import UsageError
from ..lowrank.load import fetch_network
from ..models.download import print_download
from ..models.store import WeightStore
from ..nn.fuse import inference_form
from ..settings import Settings


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
        store = WeightStore.from_settings(Settings.from_environment())
        card = store.zoo.get(name)
        return inference_form(fetch_network(store, card, print_download), card.pre_shrink).to(device)
    module_name, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"The teacher {name!r} cannot be made ({error}); expected a model's id, or package.module:function, which "
            "returns a network."
        ) from error
    return made.to(device).eval().requires_grad_(False)
