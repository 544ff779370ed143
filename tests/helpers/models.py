"""Models that are not the repository's: a zoo whose weights are elsewhere, and a user's own model."""

from __future__ import annotations

import json
from pathlib import Path

from lowrank_demo.settings import ASSETS
from tests.helpers.examples import HISTORY


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


def own_model(folder: Path) -> Path:
    """Fill a folder with a user's own model as ``train finetune`` leaves it, rank history included; return it."""
    folder.mkdir()
    zoo = json.loads((ASSETS / "zoo.json").read_text())
    card = next(model for model in zoo["models"] if model["family"] == "preview" and model["version"] == "v5")
    (folder / "own.safetensors").write_bytes((ASSETS / card["weights"]["file"]).read_bytes())
    card |= {"family": "own", "version": "mine", "history": "own.history.json"}
    card["weights"]["file"] = "own.safetensors"
    (folder / "own.card.json").write_text(json.dumps(card))
    (folder / "own.history.json").write_text(json.dumps(HISTORY))
    return folder
