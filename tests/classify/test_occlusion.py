"""Occlusion against a network whose answer is known to come from one part of the photo."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lowrank_demo.classify.inference import denormalised
from lowrank_demo.classify.occlusion import SQUARE, occlusion
from lowrank_demo.decode.pillow import decode_one


class OnePartNetwork:
    """A network whose answer, class 7, depends only on the brightness of one part of the image."""

    def logits(self, pixels: Tensor) -> Tensor:
        logits = torch.zeros(len(pixels), 1000)
        logits[:, 7] = pixels[:, :, 100:130, 40:70].mean((1, 2, 3)) * 10
        return logits


def test_the_part_that_the_answer_rests_on_has_the_largest_weight() -> None:
    pixels = torch.ones(3, 227, 227)
    found = occlusion(pixels, OnePartNetwork())  # pyright: ignore[reportArgumentType]
    assert found.label.index == 7
    assert abs(found.probability - float(torch.exp(torch.tensor(10.0)) / (torch.exp(torch.tensor(10.0)) + 999))) < 1e-4
    y, x = np.unravel_index(found.weight.argmax(), found.weight.shape)
    assert 100 - SQUARE <= y < 130 + SQUARE
    assert 40 - SQUARE <= x < 70 + SQUARE
    assert abs(found.weight[115, 55]) > 0.3
    assert abs(found.weight[:40]).max() < 1e-6, "nothing there matters"
    assert abs(found.weight[:, 150:]).max() < 1e-6

    # The same for one pixel, computed by hand: the mean loss over the squares that cover it.
    losses = []
    for top in range(0, 227 - SQUARE + 1, 15):
        for left in range(0, 227 - SQUARE + 1, 15):
            if top <= 115 < top + SQUARE and left <= 55 < left + SQUARE:
                hidden = pixels.clone()
                hidden[:, top : top + SQUARE, left : left + SQUARE] = 0
                losses.append(found.probability - float(OnePartNetwork().logits(hidden[None]).softmax(1)[0, 7]))
    assert abs(found.weight[115, 55] - np.mean(losses)) < 1e-5


def test_denormalised_pixels_equal_the_photo() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (256, 256, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    assert np.array_equal(denormalised(decode_one(file.getvalue())), image[15:242, 15:242])
