"""Teachers for distillation: a model by its id, or the result of a function by its name."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from ..errors import UsageError
from ..lowrank.load import fetch_network
from ..models.store import WeightStore
from ..models.transfer import print_download
from ..nn.fuse import inference_form
from ..runtime.schema import shown
from ..settings import Settings


def load_teacher(name: str, device: torch.device) -> nn.Module | None:
    """Return the network whose answers the trained one learns from; None for an empty name.

    Args:
        name: A model's id, or ``package.module:function``, which returns a network with the same inputs and classes.
        device: The device to run it on.

    Raises:
        UnknownModel: There is no model with this id.
        UsageError: The function cannot be found or called.
    """
    if not name:
        return None
    if ":" not in name:
        store = WeightStore.from_settings(Settings.from_environment())
        card = store.zoo.get(name)
        return inference_form(fetch_network(store, card, print_download)).to(device)
    module_name, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), function)()
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"The teacher {shown(name)} cannot be made ({error}); expected a model's id, or package.module:function "
            "that returns a network."
        ) from error
    return made.to(device).eval().requires_grad_(False)
