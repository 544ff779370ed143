"""Timing a network: plausible milliseconds, and more of them for more work."""

import torch

from lowrank_demo.classify.latency import measure
from lowrank_demo.models.zoo import Zoo


def test_more_work_takes_longer(zoo: Zoo) -> None:
    small, large = (measure(zoo.get(f"scheme_1/{v}"), torch.device("cpu")) for v in ("v4", "v1"))
    for one in (small, large):
        assert 0.5 < one.low <= one.median <= one.high < 5000
    assert large.median > small.median
