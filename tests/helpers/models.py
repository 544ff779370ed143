"""Models that are not the repository's: a zoo whose weights are elsewhere, a user's own model, nested versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.nn.nested import Version, merged
from lowrank_demo.settings import ASSETS
from lowrank_demo.train.output import quantised
from tests.helpers.examples import HISTORY
from tests.helpers.paths import sha256


def zoo_with(folder: Path, changes: dict[str, dict]) -> Path:
    """Copy the zoo into a folder, with links to the bundled weights; return the copy's path.

    Args:
        folder: Where to put it.
        changes: By model id, what to change in the card's ``weights``.
    """
    data = json.loads((ASSETS / "zoo.json").read_text())
    for model in data["models"]:
        model["weights"].update(changes.get(f"{model['family']}/{model['scheme']}/{model['version']}", {}))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "zoo.json"
    path.write_text(json.dumps(data))
    (folder / "weights").symlink_to(ASSETS / "weights")
    return path


NESTED_RANKS = {"v1": (4, 6, 6, 6, 6, 9, 8, 7), "v2": (3, 5, 4, 4, 4, 6, 5, 5)}
"""Ranks of the versions that :func:`nested_models` writes."""


def nested_models(folder: Path, change: Callable[[dict[str, Tensor]], object] = lambda _: None) -> Path:
    """Fill a folder with ``nested/scheme_2/v1`` and ``v2``, of random weights in one file; return it.

    Args:
        folder: The new folder.
        change: Called with the file's tensors before they are written, and may alter them.
    """
    folder.mkdir()
    torch.manual_seed(0)
    versions = {name: Version("scheme_2", name, ranks) for name, ranks in NESTED_RANKS.items()}
    states = {one: LowRankAlexNet(one.scheme, one.ranks).state_dict() for one in versions.values()}
    tensors = quantised(merged(states), "int8")
    change(tensors)
    file = folder / "nested.safetensors"
    safetensors.torch.save_file(tensors, file)
    for name, version in versions.items():
        card = {
            "family": "nested",
            "scheme": version.scheme,
            "version": name,
            "lambda": 2e-5,
            "ranks": list(version.ranks),
            "weights": {"file": file.name, "sha256": sha256(file), "format": "nested"},
            "licence": "MIT",
            "provenance": "Random weights of a test.",
            "note": "",
            "measured": [],
        }
        (folder / f"{name}.card.json").write_text(json.dumps(card))
    return folder


def own_model(folder: Path) -> Path:
    """Fill a folder with a user's own model as ``train finetune`` leaves it, rank history included; return it."""
    folder.mkdir()
    zoo = read_zoo(ASSETS / "zoo.json")
    bundled = zoo.get("bundled/scheme_2/v5")
    network = load_network(bundled, WeightStore(zoo, folder).ensure(bundled))
    file = folder / "own.safetensors"
    safetensors.torch.save_file(quantised(network.state_dict(), "int8"), file)
    cards = json.loads((ASSETS / "zoo.json").read_text())["models"]
    card = next(one for one in cards if one["family"] == "bundled" and one["version"] == "v5")
    card |= {"family": "own", "version": "mine", "history": "own.history.json"}
    card["weights"] = {"file": file.name, "sha256": sha256(file), "format": "safetensors"}
    (folder / "own.card.json").write_text(json.dumps(card))
    (folder / "own.history.json").write_text(json.dumps(HISTORY))
    return folder
