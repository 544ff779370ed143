"""Find the parts of a photo that a network's answer rests on: hide each part, and see how much probability is lost.

Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014), section 4.2.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.imagenet import ImageNetClass, classes
from ..decode.base import CROP
from .inference import Classifier

SQUARE, STEP = 47, 15
"""Edge of the square that hides a part, and the step from one position to the next, in pixels: 13 × 13 positions."""
_BATCH = 16
"""Images in a batch, for which others wait: 0.3 s for the largest network on two slow cores. Batches of 32 would make
it all 10 % faster there."""


@dataclass(frozen=True)
class Occlusion:
    """A network's answer for one photo, and the parts that it rests on."""

    label: ImageNetClass
    probability: float
    weight: np.ndarray
    """Float32 [227, 227]: for each pixel, how much probability the answer lost on average when a square hid the pixel.
    Negative where hiding it raised the probability."""


@torch.inference_mode()
def occlusion(pixels: Tensor, classifier: Classifier, turn: AbstractContextManager[object] | None = None) -> Occlusion:
    """Measure how much probability the network's answer loses when each part of a photo is hidden.

    The hidden parts are grey: the ImageNet mean, which normalisation turns into zero.

    Args:
        pixels: Normalised float32 [3, 227, 227].
        classifier: The network. It classifies 170 images.
        turn: Held while each batch is made and computed, so that others need not wait for all of them.
    """
    held = turn or nullcontext()
    with held:
        probabilities = classifier.logits(pixels[None]).softmax(1)[0]
        best = int(probabilities.argmax())
        probability = float(probabilities[best])
    positions = range(0, CROP - SQUARE + 1, STEP)
    corners = [(y, x) for y in positions for x in positions]
    lost: list[Tensor] = []
    for start in range(0, len(corners), _BATCH):
        with held:
            part = corners[start : start + _BATCH]
            hidden = pixels.repeat(len(part), 1, 1, 1)
            for image, (y, x) in zip(hidden, part, strict=True):
                image[:, y : y + SQUARE, x : x + SQUARE] = 0
            lost.append(probability - classifier.logits(hidden).softmax(1)[:, best].cpu())
    with held:
        losses = torch.cat(lost).view(1, 1, len(positions), len(positions))
        square = torch.ones(1, 1, SQUARE, SQUARE)
        total = F.conv_transpose2d(losses, square, stride=STEP)
        covered = F.conv_transpose2d(torch.ones_like(losses), square, stride=STEP)
        return Occlusion(classes()[best], probability, (total / covered)[0, 0].numpy())
