"""conv1's arrays against the layer itself, and their pictures."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lowrank_demo.lowrank.filters import Filters
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.ui.present_filters import filters_view


@pytest.mark.parametrize(("scheme", "v_shape"), [("scheme_1", (5, 3, 11, 11)), ("scheme_2", (5, 3, 1, 11))])
@torch.no_grad()
def test_the_product_is_the_layer(scheme: str, v_shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    network = LowRankAlexNet(scheme, (5, 2, 2, 2, 2, 2, 2, 2)).eval()
    filters = Filters.of(network)
    assert filters.v.shape == v_shape
    image = torch.randn(1, 3, 59, 59)
    pair = network.get_submodule("features.0")
    alone = F.conv2d(image, torch.from_numpy(filters.product), network.get_parameter("features.0.U.bias"), 4, 2)
    torch.testing.assert_close(alone, pair(image), rtol=1e-4, atol=1e-5)

    shown = filters_view(filters)
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]+)", shown)
    ]
    assert [picture.shape[:2] for picture in pictures] == [
        (6 * 12 - 1, 16 * 12 - 1),
        (11 if scheme == "scheme_1" else 5, 5 * 12 - 1),
        (5 * (1 if scheme == "scheme_1" else 11) + 4, 96 * 2 - 1),
    ]
    strongest = np.unravel_index(np.abs(filters.product[0]).argmax(), (3, 11, 11))
    shade = pictures[0][strongest[1], strongest[2], strongest[0]]
    assert shade == (255 if filters.product[0][strongest] > 0 else 0), "the first tile is the first filter"
