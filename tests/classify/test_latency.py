"""Timing a network: plausible milliseconds, and more of them for more work."""

import torch

from lowrank_demo.classify.latency import measure
from lowrank_demo.models.cards import Zoo
from lowrank_demo.serve.inspection import Inspection
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings


def test_more_work_takes_longer(zoo: Zoo) -> None:
    small, large = (measure(zoo.get(f"scheme_1/{v}"), torch.device("cpu")) for v in ("v4", "v1"))
    for one in (small, large):
        assert 0.5 < one.low <= one.median <= one.high < 5000
    assert large.median > small.median


def test_measured_once(settings: Settings) -> None:
    service = Service(settings)
    inspection, card = Inspection(service), service.zoo.get("scheme_2/v5")
    assert inspection.latency(card) is inspection.latency(card)
