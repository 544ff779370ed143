"""Measure the trained versions on the photos that none of them saw, and put them into the app.

    python assets/preview/pack.py run.toml measured [--assets FOLDER]

Writes the weight file to ``weights`` and the cards to ``zoo.json`` in the app's assets, in place of those of the same
family. Stopped, the next run measures what is not measured yet.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lowrank_demo.runtime.files import atomic_write
from lowrank_demo.settings import ASSETS
from lowrank_demo.train.config import read_config
from lowrank_demo.train.output import CARD_SUFFIX

SETS = {
    "thousand": "one photo of each of the 1000 classes",
    "sharp": "sharp photos of Tiny-ImageNet's 200 classes",
    "imagenette-val": "Imagenette val",
}
"""Names of the labelled files, and what they hold."""


def main(config_file: Path, measured: Path, assets: Path) -> None:
    """Measure and pack."""
    config = read_config(config_file)
    models = config.folder / "models"
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(models.glob(f"*{CARD_SUFFIX}"))]
    for card in cards:
        card["measured"] = []
    for name, title in SETS.items():
        for card, result in zip(cards, _measure(cards, measured / f"{name}.lmdb", models), strict=True):
            command = f"python -m lowrank_demo validate --lmdb-file {name}.lmdb --models {result['id']}"
            errors = {key: round(result[key], 2) for key in ("top1_error", "top5_error")}
            card["measured"].append({"dataset": title, "images": result["count"], **errors, "command": command})
    weights = f"weights/{config.output.family}.safetensors"
    with atomic_write(assets / weights) as temporary:
        shutil.copyfile(models / cards[0]["weights"]["file"], temporary)
    for card in cards:
        card["weights"]["file"] = weights
    zoo = json.loads((assets / "zoo.json").read_text(encoding="utf-8"))
    zoo["models"] = [one for one in zoo["models"] if one["family"] != config.output.family] + cards
    with atomic_write(assets / "zoo.json") as temporary:
        temporary.write_text(json.dumps(zoo, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _measure(cards: list[dict[str, Any]], file: Path, models: Path) -> list[dict[str, Any]]:
    """Return each model's errors on a labelled file, from ``validate``."""
    report = models / f"{file.stem}.json"
    if not report.exists():
        ids = ",".join("{family}/{scheme}/{version}".format(**card) for card in cards)
        command = ("-m", "lowrank_demo", "validate", "--lmdb-file", str(file), "--models", ids, "--json", str(report))
        subprocess.run([sys.executable, *command], env={**os.environ, "LOWRANK_MODELS_DIR": str(models)}, check=True)
    return json.loads(report.read_text(encoding="utf-8"))["models"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the trained versions and put them into the app.")
    parser.add_argument("config", type=Path, metavar="RUN.TOML")
    parser.add_argument("measured", type=Path, metavar="FOLDER", help="folder of the labelled files")
    parser.add_argument("--assets", type=Path, default=ASSETS, metavar="FOLDER", help="the app's assets")
    arguments = parser.parse_args()
    main(arguments.config, arguments.measured, arguments.assets)
