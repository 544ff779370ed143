"""Cut the convolutions to each version's ranks, and train them to compute what the uncut ones do.

    python assets/preview/match.py match.toml
    python assets/preview/match.py longer.toml

Each batch goes through one version, drawn at random. The loss compares what comes after conv5 with the kept features of
the same crops (features.py): 9,216 values a photo say more than a teacher's answer, so that a few thousand photos
repair most of the cut. The rest of the loss, ``teacher_weight`` of it, is the divergence of the version's answers from
the teacher's: it says which features matter. The heads' weights stay as they are. Writes one weight file and a card for
each version below ``models`` in the run's folder. If stopped, the next run continues after the last whole epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fit import fit
from stack import FEATURES
from torch import Tensor, nn

from lowrank_demo.lowrank.calibration import measure_each
from lowrank_demo.lowrank.refactor import order_components
from lowrank_demo.nn.nested import NestedAlexNet, Version, merged, set_dropout
from lowrank_demo.train.answers import Answers, check_crops
from lowrank_demo.train.batches import Batches, LmdbImages, evenly_spaced
from lowrank_demo.train.config import read_config
from lowrank_demo.train.output import write_nested
from lowrank_demo.train.stages import STATISTICS_IMAGES
from lowrank_demo.train.start import chosen_starts

CONVOLUTIONS, HEADS = "features", "classifier"
STATISTICS = 8192
FLOOR = 0.1
"""Share of the mean variance that is added to each feature's, so that rare features do not dominate."""


class Convolutions(nn.Module):
    """The convolutions of all versions."""

    def __init__(self, nested: NestedAlexNet) -> None:
        super().__init__()
        self.nested = nested
        nested.train_only(CONVOLUTIONS)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features, [n, 9216], and the logits, [n, 1000], that a version drawn at random computes."""
        version = self.nested.drawn()
        features = self.nested.part(version, CONVOLUTIONS, images).flatten(1)
        return features, self.nested.part(version, HEADS, features)


class Targets:
    """What a crop's features and answer should be, one after the other: float16 [9216 + 1000].

    Args:
        features: The kept features.
        answers: The teacher's answers.
    """

    def __init__(self, features: Answers, answers: Answers) -> None:
        self._both = (features, answers)

    def __getitem__(self, place: tuple[int, int]) -> Tensor:
        return torch.cat([one[place] for one in self._both])


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
    stage, views = config.finetune, config.data.views
    assert stage.answers is not None
    for computed in (stage.answers, kept):
        check_crops(computed, config.data, config.seed)
    images.answers = Targets(Answers(kept, views, len(images), FEATURES), Answers(stage.answers, views, len(images)))
    set_dropout(nested, 0.0)
    batches = Batches(images, config.data.batch_size, config.data.workers, seed=config.seed, parts=config.data.parts)
    some = np.load(kept, mmap_mode="r")[0, :: max(1, len(images) // STATISTICS)].astype(np.float32)
    variance = torch.from_numpy(some.var(0))
    deviation = (variance + FLOOR * variance.mean()).sqrt()

    def losses(epoch: int) -> Iterator[Tensor]:
        for crops, _, targets in batches.epoch(epoch):
            wanted, answers = targets.float().split([FEATURES, targets.shape[1] - FEATURES], 1)
            with torch.autocast("cpu", torch.bfloat16, enabled=stage.precision == "bf16"):
                features, logits = (one.float() for one in network(crops))
            unlike = F.mse_loss(features / deviation, wanted / deviation)
            diverging = F.kl_div(
                F.log_softmax(logits, 1), F.log_softmax(answers, 1), log_target=True, reduction="batchmean"
            )
            yield torch.lerp(unlike, diverging, stage.teacher_weight)

    fit(network, losses, batches.per_epoch, config, path.stem)
    measure_each(nested, evenly_spaced(config.data.train, STATISTICS_IMAGES))
    order_components(nested)
    print(*write_nested(config, nested, lambdas), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the convolutions.")
    parser.add_argument("config", type=Path, metavar="RUN.TOML")
    main(parser.parse_args().config)
