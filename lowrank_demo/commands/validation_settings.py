"""The settings of ``validate``: the environment's, changed by the options and by what ``torchrun`` requires."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING

from ..errors import SettingError

if TYPE_CHECKING:
    from ..runtime.launch import Place
    from ..settings import Settings

_VARIABLES = {
    "device": "LOWRANK_DEVICE",
    "decoder": "LOWRANK_DECODER",
    "engine": "LOWRANK_ENGINE",
    "precision": "LOWRANK_PRECISION",
}
"""The options that stand for a variable."""


def settings_of(args: argparse.Namespace, place: Place) -> Settings:
    """Return the settings of one process.

    Raises:
        SettingError: One cannot be used.
    """
    from ..settings import Settings, usable_cpus

    environment = {**os.environ} | {_VARIABLES[option]: value for option, value in _given(args).items()}
    if place.world > 1:
        import torch

        from ..runtime.processes import own_gpu

        environment.setdefault("LOWRANK_THREADS", str(max(1, usable_cpus() // place.local_world)))
        uses_torch = environment.get("LOWRANK_ENGINE", "torch").lower() != "openvino"
        if uses_torch and torch.cuda.is_available() and environment.get("LOWRANK_DEVICE", "auto") in ("auto", "cuda"):
            environment["LOWRANK_DEVICE"] = str(own_gpu(place))
    return Settings.from_environment(environment)


def as_typed(error: SettingError, args: argparse.Namespace) -> SettingError:
    """Return an error about a setting that was given as an option, which it then names; another error as it is."""
    typed, text = {_VARIABLES[option]: f"--{option}" for option in _given(args)}, str(error)
    if text.split()[0] not in typed:
        return error
    return SettingError(re.sub(r"LOWRANK_\w+", lambda found: typed.get(found[0], found[0]), text))


def _given(args: argparse.Namespace) -> dict[str, str]:
    """Return the options that stand for a variable, and their values."""
    return {option: value for option in _VARIABLES if (value := getattr(args, option))}
