"""Cut the convolutions to each version's ranks, and train them to compute what the uncut ones do.

    python assets/preview/match.py match.toml

Each batch goes through one version, drawn at random. The loss compares what comes after conv5 with the kept features of
the same crops (features.py): 9,216 values a photo say more than a teacher's answer, so that a few thousand photos
repair most of the cut. The heads stay as they are. Writes one weight file and a card for each version below ``models``
in the run's folder. If stopped, the next run continues after the last whole epoch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fit import fit
from stack import FEATURES
from torch import Tensor, nn

from lowrank_demo.lowrank.calibration import measure_each
from lowrank_demo.nn.nested import NestedAlexNet, Version, merged
from lowrank_demo.train.answers import Answers
from lowrank_demo.train.batches import Batches, LmdbImages, evenly_spaced
from lowrank_demo.train.config import read_config
from lowrank_demo.train.output import write_nested
from lowrank_demo.train.stages import STATISTICS_IMAGES
from lowrank_demo.train.start import chosen_starts

CONVOLUTIONS = "features"
STATISTICS = 8192
FLOOR = 0.1
"""Share of the mean variance that is added to each feature's, so that rare features do not dominate."""


class Convolutions(nn.Module):
    """The convolutions of all versions."""

    def __init__(self, nested: NestedAlexNet) -> None:
        super().__init__()
        self.nested = nested
        nested.train_only(CONVOLUTIONS)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features, float32 [n, 9216], that a version drawn at random computes."""
        return self.nested.part(self.nested.drawn(), CONVOLUTIONS, images).flatten(1)


def main(path: Path) -> None:
    """Train, then write the models."""
    config = read_config(path)
    torch.manual_seed(config.seed)
    starts = chosen_starts(config)
    states = {Version(one.like.scheme, one.like.version, one.like.ranks): one.network.state_dict() for one in starts}
    lambdas = {version: one.like.lambda_ for version, one in zip(states, starts, strict=True)}
    nested = NestedAlexNet(list(states), merged(states)).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    network = Convolutions(nested)

    images = LmdbImages(config.data.train, config.data, config.seed, labelled=False)
    kept = config.folder / "features.npy"
    images.answers = Answers(kept, config.data.views, len(images), FEATURES)
    batches = Batches(images, config.data.batch_size, config.data.workers, seed=config.seed, parts=config.data.parts)
    some = np.load(kept, mmap_mode="r")[0, :: max(1, len(images) // STATISTICS)].astype(np.float32)
    variance = torch.from_numpy(some.var(0))
    deviation = (variance + FLOOR * variance.mean()).sqrt()

    def losses(epoch: int) -> Iterator[Tensor]:
        for crops, _, wanted in batches.epoch(epoch):
            yield F.mse_loss(network(crops) / deviation, wanted.float() / deviation)

    fit(network, losses, batches.per_epoch, config, "match")
    measure_each(nested, evenly_spaced(config.data.train, STATISTICS_IMAGES))
    print(*write_nested(config, nested, lambdas), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
