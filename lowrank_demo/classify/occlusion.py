"""Where in a photo a network's answer comes from: how much of its probability is lost when a part is hidden.

Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014), section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.imagenet import ImageNetClass, classes
from ..decode.base import CROP
from .inference import BATCH, Classifier

SQUARE, STEP = 47, 15
"""Edge of the square that hides a part, and the distance between its places, in pixels: 13 × 13 places."""


@dataclass(frozen=True)
class Occlusion:
    """One network's answer for one photo, and what it rests on."""

    label: ImageNetClass
    probability: float
    weight: np.ndarray
    """Float32 [227, 227]: mean loss of the answer's probability over the squares that hid the pixel; below zero where
    hiding it helped."""


@torch.inference_mode()
def occlusion(pixels: Tensor, classifier: Classifier) -> Occlusion:
    """Hide one square after the other, in the grey that normalisation makes zero.

    Args:
        pixels: Normalised float32 [3, 227, 227].
        classifier: The network, asked 170 times.
    """
    probabilities = classifier.logits(pixels[None]).softmax(1)[0]
    best = int(probabilities.argmax())
    whole = float(probabilities[best])
    places = range(0, CROP - SQUARE + 1, STEP)
    corners = [(y, x) for y in places for x in places]
    lost: list[Tensor] = []
    for start in range(0, len(corners), BATCH):
        part = corners[start : start + BATCH]
        hidden = pixels.repeat(len(part), 1, 1, 1)
        for image, (y, x) in zip(hidden, part, strict=True):
            image[:, y : y + SQUARE, x : x + SQUARE] = 0
        lost.append(whole - classifier.logits(hidden).softmax(1)[:, best].cpu())
    losses = torch.cat(lost).view(1, 1, len(places), len(places))
    square = torch.ones(1, 1, SQUARE, SQUARE)
    spread = F.conv_transpose2d(losses, square, stride=STEP)
    covered = F.conv_transpose2d(torch.ones_like(losses), square, stride=STEP)
    return Occlusion(classes()[best], whole, (spread / covered)[0, 0].numpy())
