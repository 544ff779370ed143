"""Train fc6, fc7 and fc8 of all versions, nested, on the kept features and answers.

    python assets/preview/heads.py heads.toml

The smallest version is trained alone. From there all are trained together, for one more epoch at a fifth of the
learning rate: trained together from the start, all of them were worse than the smallest is alone. Writes one weight
file and a card for each version below ``models`` in the run's folder: the convolutions of stack.py at full rank, and
heads at the ranks of the published versions. ``match.py`` brings the convolutions to their ranks from there. No label
is used: the loss is the divergence from the teacher's answers. If stopped, the next run continues after the last whole
epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fit import fit
from stack import FEATURES, convolutions
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from lowrank_demo.lowrank.calibration import mixed_batches
from lowrank_demo.models.architecture import LAYERS
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet, LowRankLayer
from lowrank_demo.nn.nested import NestedAlexNet, Version, merged, set_dropout
from lowrank_demo.settings import ASSETS
from lowrank_demo.train.answers import Answers, check_crops
from lowrank_demo.train.batches import evenly_spaced
from lowrank_demo.train.config import RunConfig, read_config
from lowrank_demo.train.output import write_nested

CONVOLUTIONS = tuple(layer for layer in LAYERS if layer.kind == "conv")
STATISTICS, IMAGES = 8192, 512
FAINT = 0.05
HEAD = "classifier"
TOGETHER, SLOWER = 1, 0.2
"""Epochs of all versions together, and the share of the learning rate."""


class Heads(nn.Module):
    """The heads of versions behind a batch normalisation of their features, which :meth:`folded` removes."""

    def __init__(self, versions: list[Version]) -> None:
        super().__init__()
        states = {one: LowRankAlexNet(one.scheme, one.ranks).state_dict() for one in versions}
        self.nested = NestedAlexNet(versions, merged(states))
        self.features = nn.BatchNorm1d(FEATURES, affine=False)
        self.nested.train_only(HEAD)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of a version drawn at random."""
        return self.nested.part(self.nested.drawn(), HEAD, self.features(features))

    @torch.no_grad()
    def start_from(self, smallest: Heads) -> None:
        """Make every version compute what the smallest one computes.

        The components that a version has beyond have random V and zero U, so that training can use them.
        """
        (version,) = smallest.nested.versions
        self.features.load_state_dict(smallest.features.state_dict())
        given = smallest.nested.state_of(version)
        for name, tensor in self.nested.tensors().items():
            if name.startswith(HEAD) and name.endswith(".U.weight"):
                tensor.zero_()
        for one in self.nested.versions:
            for key, tensor in self.nested.state_of(one).items():
                if key.startswith(HEAD):
                    # The first components of a factor, all of another tensor.
                    part = tensor[tuple(map(slice, given[key].shape))]
                    part.copy_(given[key])

    @torch.no_grad()
    def folded(self) -> None:
        """Move the normalisation into fc6: V divides by the deviations, U subtracts the means."""
        mean, variance = self.features.running_mean, self.features.running_var
        assert mean is not None
        assert variance is not None
        tensors = self.nested.tensors()
        tensors[f"{HEAD}.0.V.weight"].div_((variance + self.features.eps).sqrt())
        for version in self.nested.versions:
            state = self.nested.state_of(version)
            moved = state[f"{HEAD}.0.U.weight"] @ (state[f"{HEAD}.0.V.weight"] @ mean)
            state[f"{HEAD}.0.U.bias"].sub_(moved)


def main(path: Path) -> None:
    """Train, then write the models."""
    config = read_config(path)
    stage = config.finetune
    assert stage.answers is not None
    features = np.load(config.folder / "features.npy", mmap_mode="r")[0]  # the first view
    for kept in (stage.answers, config.folder / "features.npy"):
        check_crops(kept, config.data, config.seed)
    answers = Answers(stage.answers, config.data.views, len(features))
    versions = head_versions()
    torch.manual_seed(config.seed)
    alone = Heads([smallest_of(versions)])
    per_epoch = len(features) // config.data.batch_size
    set_dropout(alone.nested, stage.dropout)
    fit(alone, lambda epoch: _losses(alone, features, answers, config, epoch), per_epoch, config, "smallest")
    heads = Heads(list(versions))
    heads.start_from(alone)
    set_dropout(heads.nested, stage.dropout)
    gentle = replace(stage, epochs=TOGETHER, learning_rate=SLOWER * stage.learning_rate)
    together = replace(config, finetune=gentle)
    fit(heads, lambda epoch: _losses(heads, features, answers, together, epoch), per_epoch, together, "heads")
    heads.folded()
    _complete(heads, features, evenly_spaced(config.data.train, IMAGES))
    print(*write_nested(config, heads.nested, versions), sep="\n")


def smallest_of(versions: Iterable[Version]) -> Version:
    """Return the version with the lowest ranks."""
    return min(versions, key=lambda version: sum(version.ranks))


def head_versions() -> dict[Version, float]:
    """Return the versions whose heads are trained, behind uncut convolutions, with the λ of each."""
    published = [card for card in read_zoo(ASSETS / "zoo.json") if card.published]
    full = tuple(layer.outputs for layer in CONVOLUTIONS)
    return {
        Version("scheme_1", f"{card.scheme}-{card.version}", (*full, *card.ranks[len(full) :])): card.lambda_
        for card in published
    }


def _losses(heads: Heads, features: np.ndarray, answers: Answers, config: RunConfig, epoch: int) -> Iterator[Tensor]:
    batch = config.data.batch_size
    order = np.random.default_rng([config.seed, epoch]).permutation(len(features))
    for number in range(len(features) // batch):
        # Sorted, so that the disk is read in one direction.
        places = np.sort(order[number * batch : (number + 1) * batch])
        inputs = torch.from_numpy(features[places]).float()
        wanted = F.log_softmax(torch.stack([answers[0, place] for place in places]).float(), 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.finetune.precision == "bf16"):
            logits = heads(inputs).float()
        yield F.kl_div(F.log_softmax(logits, 1), wanted, log_target=True, reduction="batchmean")


@torch.no_grad()
def _complete(heads: Heads, features: np.ndarray, images: Tensor) -> None:
    """Put the uncut convolutions in front of the heads, and measure the statistics of every version's heads."""
    uncut = _uncut(images)
    places = range(0, len(features), max(1, len(features) // STATISTICS))
    batches = mixed_batches(torch.from_numpy(features[places]).float(), 512)
    for version in heads.nested.versions:
        state = heads.nested.state_of(version)
        for key, tensor in uncut.items():
            state[key].copy_(tensor)
        network = heads.nested.network_of(version)
        set_dropout(network, 0.0)
        update_bn(batches, network.classifier)
        heads.nested.set_buffers(version, network)


def _uncut(images: Tensor) -> dict[str, Tensor]:
    """Return the convolutions of stack.py at full rank, as the features of a network of scheme 1.

    The added channels mix the given filters at random, so that training finds features there; they are faint, so that
    keeping the main directions of a layer's outputs does not keep them, and the next layer does not look at them yet.
    """
    network = LowRankAlexNet("scheme_1", (*(layer.outputs for layer in CONVOLUTIONS), 1, 1, 1)).eval()
    inputs = 3
    for layer, (weight, bias) in zip(CONVOLUTIONS, convolutions(), strict=True):
        pair, outputs = network.get_submodule(layer.key), len(weight)
        assert isinstance(pair, LowRankLayer)
        mix = torch.randn(layer.outputs - outputs, outputs) / outputs**0.5 * FAINT
        v, u = pair.V.weight, pair.U.weight
        v.zero_()
        v[:outputs, :inputs], v[outputs:, :inputs] = weight, torch.einsum("ab,bcij->acij", mix, weight)
        u.copy_(torch.eye(layer.outputs).reshape(u.shape))
        assert pair.U.bias is not None
        pair.U.bias.copy_(torch.cat([bias, mix @ bias]))
        inputs = outputs
    for module in network.features:
        if isinstance(module, nn.BatchNorm2d):
            variance, mean = torch.var_mean(images, (0, 2, 3))
            module.load_state_dict(
                {
                    "running_mean": mean,
                    "running_var": variance,
                    "weight": (variance + module.eps).sqrt(),
                    "bias": mean,
                    "num_batches_tracked": torch.tensor(0),
                }
            )
        images = module(images)
    return {f"features.{key}": tensor for key, tensor in network.features.state_dict().items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the heads.")
    parser.add_argument("config", type=Path, metavar="RUN.TOML")
    main(parser.parse_args().config)
