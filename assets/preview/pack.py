"""Measure the trained versions on the photos that none of them saw, and put them into the app.

    python assets/preview/pack.py longer.toml measured [--assets FOLDER]

Writes the weight file, and the statistics of the cuts below the versions, to ``weights`` in the assets. In the zoo.json
there, replaces the bundled cards and the errors of the cuts between and below the versions. If stopped, the next run
measures what is still missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from lowrank_demo.lowrank.calibration import measure_statistics
from lowrank_demo.lowrank.load import fetch_network
from lowrank_demo.models.architecture import SCHEMES
from lowrank_demo.models.cards import BUNDLED_FAMILY, ModelCard
from lowrank_demo.models.path import path_of
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.runtime.files import atomic_write
from lowrank_demo.runtime.progress import Meter, ProgressLine
from lowrank_demo.serve.places import MAX_MODELS
from lowrank_demo.settings import ASSETS
from lowrank_demo.train.batches import evenly_spaced
from lowrank_demo.train.config import read_config
from lowrank_demo.train.output import CARD_SUFFIX, quantised
from lowrank_demo.train.stages import STATISTICS_IMAGES

SETS = {
    "thousand": "one photo of each class",
    "sharp": "sharp photos of Tiny-ImageNet's 200 classes",
    "imagenette-val": "Imagenette val",
}
"""Names of the labelled files, and what they hold; the page quotes the first."""
NOTE = (
    "These weights let the app answer without a download. Of 100 photos the first answer is right on {top1:.0f}, and "
    "the right one is among the first five for {top5:.0f}. They do not show how good the paper's models are."
)
"""What a card tells users to expect, from the first set."""


def main(config_file: Path, measured: Path, assets: Path) -> None:
    """Measure and pack."""
    config = read_config(config_file)
    models, family = config.folder / "models", BUNDLED_FAMILY
    made = sorted(models.glob(f"{config.output.family}-*{CARD_SUFFIX}"))
    cards = [{**json.loads(path.read_text(encoding="utf-8")), "family": family, "measured": []} for path in made]
    zoo = json.loads((assets / "zoo.json").read_text(encoding="utf-8"))
    zoo["cuts"] = [one for one in zoo.get("cuts", []) if one["family"] != family]
    others = [one for one in zoo["models"] if one["family"] != family]
    published = [one for one in others if one["weights"]["url"]]
    # Beside the weights, so that they are measured before they are in the app.
    (models / "zoo.json").write_text(json.dumps({**zoo, "models": published + cards}), encoding="utf-8")
    statistics = statistics_of_cuts(models / "zoo.json", config.data.train)
    for card in cards:
        card["weights"]["statistics"] = {"file": statistics.name, "sha256": sha256(statistics)}
    (models / "zoo.json").write_text(json.dumps({**zoo, "models": published + cards}), encoding="utf-8")
    measuring = Measuring(models, measured, cards[0]["weights"]["sha256"] + sha256(statistics))

    names = [f"{family}/{card['scheme']}/{card['version']}" for card in cards]
    for file, title in SETS.items():
        for card, errors in zip(cards, measuring.errors(file, title, names), strict=True):
            card["measured"].append(errors)
    for card in cards:
        first = card["measured"][0]
        card["note"] = NOTE.format(top1=100 - first["top1_error"], top5=100 - first["top5_error"])

    beside = read_zoo(models / "zoo.json")
    paths = [path_of(beside, family, scheme) for scheme in SCHEMES]
    cuts = [card for path in paths for card in path if card.truncated_from]
    file, title = next(iter(SETS.items()))
    for card, errors in zip(cuts, measuring.errors(file, title, [card.id for card in cuts]), strict=True):
        cut = {"family": family, "scheme": card.scheme, "version": card.version, "ranks": list(card.ranks)}
        zoo["cuts"].append({**cut, "measured": errors})

    weights, beside = f"weights/{family}.safetensors", f"weights/{family}.statistics.safetensors"
    for source, name in ((models / cards[0]["weights"]["file"], weights), (statistics, beside)):
        with atomic_write(assets / name) as temporary:
            shutil.copyfile(source, temporary)
    for card in cards:
        card["weights"]["file"], card["weights"]["statistics"]["file"] = weights, beside
    zoo["models"] = others + cards
    with atomic_write(assets / "zoo.json") as temporary:
        temporary.write_text(json.dumps(zoo, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def statistics_of_cuts(zoo: Path, photos: Path) -> Path:
    """Measure the batch normalisation's statistics of the cuts below the smallest version of each scheme.

    Args:
        zoo: Cards without such statistics; the file is put beside it, unless an earlier run did.
        photos: Training photos.

    Returns:
        The path of a safetensors file.
    """
    store = WeightStore(read_zoo(zoo), zoo.parent)
    paths = [path_of(store.zoo, BUNDLED_FAMILY, scheme) for scheme in SCHEMES]
    below = [card for path in paths if path for card in path[_last_version(path) + 1 :]]
    what = "\n".join([below[0].weights.sha256, *(card.id for card in below)])
    file = zoo.with_name(f"statistics-{hashlib.sha256(what.encode()).hexdigest()[:12]}.safetensors")
    if file.exists():
        return file
    images = evenly_spaced(photos, STATISTICS_IMAGES)
    line, meter = ProgressLine(), Meter(len(below) * len(images))
    tensors: dict[str, Tensor] = {}
    for number, card in enumerate(below, start=1):
        network = fetch_network(store, card)
        measure_statistics(network, images)
        place = f"{card.id.removeprefix(f'{card.family}/')}/"
        tensors |= {place + key: tensor for key, tensor in network.named_buffers() if tensor.is_floating_point()}
        line.show(meter.at(number * len(images)), ", statistics of the cuts")
    with atomic_write(file) as temporary:
        safetensors.torch.save_file(quantised(tensors, "int8"), temporary, {"format": "pt"})
    return file


def _last_version(path: Sequence[ModelCard]) -> int:
    return max(place for place, card in enumerate(path) if not card.truncated_from)


def sha256(file: Path) -> str:
    """Return a file's digest in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Measuring:
    """Measures models that are not in the app yet."""

    models: Path
    """Folder with their weights and a zoo.json; reports are kept here."""
    files: Path
    """Folder of the labelled files."""
    weights: str
    """SHA-256 of the weight file and of the statistics: a report is of these alone."""

    def errors(self, file: str, title: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return each model's errors on a labelled file, as a card states them."""
        measured = [one for part in range(0, len(ids), MAX_MODELS) for one in self._part(file, ids[part:][:MAX_MODELS])]
        return [
            {
                "dataset": title,
                "images": one["count"],
                **{key: round(one[key], 2) for key in ("top1_error", "top5_error")},
                "command": f"python -m lowrank_demo validate --lmdb-file {file}.lmdb --models {one['id']}",
            }
            for one in measured
        ]

    def _part(self, file: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        models, lmdb = ",".join(ids), self.files / f"{file}.lmdb"
        what = f"{models} {self.weights} {lmdb.stat().st_mtime_ns}"
        report = self.models / f"{file}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.json"
        if not report.exists():
            command = (
                "-m",
                "lowrank_demo",
                "validate",
                "--lmdb-file",
                str(lmdb),
                "--models",
                models,
                "--json",
                str(report),
            )
            zoo = str(self.models / "zoo.json")
            # Only these models, not those in the folder of the recipe's own ones.
            environment = {**os.environ, "LOWRANK_ZOO": zoo, "LOWRANK_MODELS_DIR": ""}
            subprocess.run([sys.executable, *command], env=environment, check=True)
        return json.loads(report.read_text(encoding="utf-8"))["models"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the trained versions and put them into the app.")
    parser.add_argument("config", type=Path, metavar="RUN.TOML")
    parser.add_argument("measured", type=Path, metavar="FOLDER", help="folder of the labelled files")
    parser.add_argument("--assets", type=Path, default=ASSETS, metavar="FOLDER", help="the app's assets")
    arguments = parser.parse_args()
    main(arguments.config, arguments.measured, arguments.assets)
