"""conv1's arrays against the layer itself, and their pictures."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lowrank_demo.lowrank.filters import Filters
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.ui.present_filters import rank_view


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


@torch.no_grad()
def test_each_rank_and_its_pictures() -> None:
    torch.manual_seed(1)
    network = LowRankAlexNet("scheme_2", (5, 2, 2, 2, 2, 2, 2, 2)).eval()
    filters = Filters.of(network)
    photo = torch.randn(3, 227, 227)
    steps = filters.at_each_rank(photo)
    assert [step.rank for step in steps] == [1, 2, 3, 4, 5]
    assert [step.numbers for step in steps] == [rank * (3 * 11 + 96 * 11) for rank in range(1, 6)]
    energies = [step.energy for step in steps]
    assert energies == sorted(energies)
    assert energies[-1] == pytest.approx(1)
    # NumPy's own decomposition of the matrix [96 · 11, 3 · 11] of scheme 2.
    matrix = filters.product.transpose(0, 2, 1, 3).reshape(96 * 11, 3 * 11)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    cut = ((u[:, :2] * s[:2]) @ v[:2]).reshape(96, 11, 3, 11).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(steps[1].filters, cut, atol=1e-5)
    np.testing.assert_allclose(steps[-1].filters, filters.product, atol=1e-5)
    whole = (
        network.get_submodule("features.0")(photo[None])[0] - network.get_parameter("features.0.U.bias")[:, None, None]
    )
    np.testing.assert_allclose(steps[-1].maps, whole.relu().numpy(), atol=1e-3)

    view = rank_view(steps, 4)
    assert 'value="4"' in view
    assert view.count("lr-cut-off") == len(steps) - 4
    data = json.loads(unescape(re.findall(r'data-steps="([^"]+)"', view)[0]))
    assert data[1]["text"].startswith("Rank 2: 2,178 weights in place of 34,848; ")
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))) for uri in data[4]["pictures"]
    ]
    assert [picture.shape[:2] for picture in pictures] == [(6 * 12 - 1, 16 * 12 - 1), (2 * 56, 6 * 56)]
    strongest = np.unravel_index(np.abs(steps[4].filters[0]).argmax(), (3, 11, 11))
    shade = pictures[0][strongest[1], strongest[2], strongest[0]]
    assert shade == (255 if steps[4].filters[0][strongest] > 0 else 0), "the first tile is the first filter"
