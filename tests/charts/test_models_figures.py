"""What the page says of a model's cost, against the published figures."""

from __future__ import annotations

import re

import pytest

from lowrank_demo.charts.models import macs_summary
from lowrank_demo.models.zoo import Zoo


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4", "v5"])
def test_the_summary_compares_with_the_dense_network_and_with_the_papers_reference(zoo: Zoo, version: str) -> None:
    card = zoo.get(f"scheme_2/{version}")
    assert card.published
    numbers = re.findall(r"\d[\d,]*\.?\d*", macs_summary(card, zoo))
    found = [float(number.replace(",", "").rstrip(".")) for number in numbers]
    mflops, _, reference, fewer, dense = found
    assert mflops == round(card.published.mflops), "as everywhere on the page"
    # AlexNet's five convolutions and three linear layers without groups.
    sizes = [(96, 3, 11, 56), (256, 96, 5, 27), (384, 256, 3, 13), (384, 384, 3, 13), (256, 384, 3, 13)]
    expected = sum(n * m * k * k * out * out for n, m, k, out in sizes) + 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert dense == round(expected / 1e6)
    assert reference == 724
    assert fewer == pytest.approx(card.published.flops_reduction, abs=0.06)
