"""Compare two sources of statistics for networks between and below the versions: their version, or a few photos.

    python assets/preview/slices.py MEASURED.lmdb PHOTOS.lmdb [--family bundled] [--photos 48]

Prints the top-1 and top-5 error of each network on the labelled file, first with the statistics of the version that it
is cut from, then with those of the photos.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import torch
from torch import Tensor

from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.architecture import SCHEMES
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.nn.fuse import inference_form
from lowrank_demo.settings import Settings
from lowrank_demo.train.batches import LmdbImages, evenly_spaced

_BATCH = 64


def main(measured: Path, photos: Tensor, family: str) -> None:
    """Measure and print."""
    store = WeightStore.from_settings(Settings.from_environment())
    print(f"top-1 and top-5 error in % with the statistics of the version, and of {len(photos)} photos")
    for card in slices(store.zoo, family):
        networks = [load_network(card, store.ensure(card), photos=given) for given in (None, photos)]
        both = errors([inference_form(network) for network in networks], measured)
        print(card.id, *(f"{top1:6.2f} {top5:6.2f}" for top1, top5 in both), sep="  ", flush=True)


def slices(zoo: Zoo, family: str) -> Iterator[ModelCard]:
    """Yield models halfway between each version and the next, and at a half and a quarter of the smallest's ranks."""
    for scheme in SCHEMES:
        versions = [card for card in zoo.of_scheme(scheme) if card.family == family and card.weights.format == "nested"]
        versions.sort(key=lambda card: card.cost.macs)
        for small, large in pairwise(versions):
            pairs = zip(small.ranks, large.ranks, strict=True)
            yield large.truncated([min(most, round((least * most) ** 0.5)) for least, most in pairs])
        for last, part in product(versions[:1], (2, 4)):
            yield last.truncated([max(1, rank // part) for rank in last.ranks])


@torch.inference_mode()
def errors(networks: list[torch.nn.Module], measured: Path) -> list[tuple[float, float]]:
    """Return each network's top-1 and top-5 error on a labelled file, in percent."""
    images = LmdbImages(measured, None, 0)
    right = torch.zeros(len(networks), 2)
    for start in range(0, len(images), _BATCH):
        pixels, labels, _ = zip(*(images[i] for i in range(start, min(start + _BATCH, len(images)))), strict=True)
        for number, network in enumerate(networks):
            hits = network(torch.stack(pixels)).topk(5).indices == torch.tensor(labels)[:, None]
            right[number] += torch.stack([hits[:, 0].sum(), hits.sum()])
    return [(100 - top1, 100 - top5) for top1, top5 in (100 * right / len(images)).tolist()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare two sources of statistics for networks between the versions.")
    parser.add_argument("measured", type=Path, metavar="MEASURED.lmdb", help="labelled file")
    parser.add_argument("photos", type=Path, metavar="PHOTOS.lmdb", help="file to take the photos from")
    parser.add_argument("--family", default="bundled", help="family of nested models")
    parser.add_argument("--photos", dest="count", type=int, default=48, metavar="N", help="how many photos")
    arguments = parser.parse_args()
    main(arguments.measured, evenly_spaced(arguments.photos, arguments.count), arguments.family)
