"""What bringing a model to other ranks keeps before any training: ``python assets/preview/untrained.py TRAIN VAL``.

Brings the bundled scheme 2 v5 to scheme 1 v4's ranks, by its weights alone and by what it computes of 512 images of the
LMDB file TRAIN, and prints how many of every twelfth image of VAL each is right on.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from lowrank_demo.classify.inference import TOP, Classifier
from lowrank_demo.lowrank.calibration import calibrated
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.lowrank.refactor import refactored
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from lowrank_demo.train.batches import LmdbImages, evenly_spaced

START, RANKS_OF, IMAGES = "preview/scheme_2/v5", "published/scheme_1/v4", 512


def main(train: Path, validation: Path) -> None:
    """Print three lines."""
    service = Service(Settings.from_environment())
    card, like = service.zoo.get(START), service.zoo.get(RANKS_OF)
    network = load_network(card, service.weights.ensure(card))
    images = evenly_spaced(train, IMAGES)
    began = time.perf_counter()
    fitted = calibrated(network, like.scheme, like.ranks, images)
    print(f"calibration: {time.perf_counter() - began:.0f} s")
    measured = LmdbImages(validation, None, 0)
    pixels, labels = zip(*(measured[i] for i in range(0, len(measured), 12)), strict=True)
    for name, one in (
        (START, network),
        ("by its weights", refactored(network, like.scheme, like.ranks)),
        (f"by {IMAGES} images", fitted),
    ):
        _print(name, one, card.pre_shrink, torch.stack(pixels), torch.tensor(labels))


def _print(
    name: str, network: LowRankAlexNet, pre_shrink: int | None, pixels: torch.Tensor, labels: torch.Tensor
) -> None:
    classifier = Classifier(network, pre_shrink, torch.device("cpu"))
    top = torch.cat([classifier.logits(part) for part in pixels.split(64)]).topk(TOP).indices
    right = top == labels[:, None]
    print(
        f"{name}: {100 * right[:, 0].float().mean():.1f} % top-1, {100 * right.any(1).float().mean():.1f} % top-5 right"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
