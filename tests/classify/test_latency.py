"""Timing a network: plausible milliseconds, and more of them for more work."""

import itertools

import torch

from lowrank_demo.classify.latency import measure
from lowrank_demo.models.zoo import Zoo


def test_more_work_takes_longer(zoo: Zoo) -> None:
    # By turns, and the fastest of each: a busy machine can slow every pass of one measurement.
    cards = [zoo.get(f"scheme_1/{version}") for version in ("v4", "v1")]
    rounds = [[measure(card, torch.device("cpu")) for card in cards] for _ in range(3)]
    for one in itertools.chain(*rounds):
        assert 0.5 < one.low <= one.median <= one.high < 5000
    small, large = (min(one.low for one in ones) for ones in zip(*rounds, strict=True))
    assert large > small
