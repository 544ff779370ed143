"""Values that several tests start from."""

from __future__ import annotations

from typing import Any

from lowrank_demo.models.zoo import Zoo
from lowrank_demo.validate.report import Conditions, ModelResult, Report

CONDITIONS = Conditions("pillow", "cpu", "torch", "fp32")

HISTORY: dict[str, Any] = {
    "format": 1,
    "scheme": "scheme_2",
    "criterion": "flops",
    "lambda": 2.5e-5,
    "layers": ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"],
    "steps": [
        {
            "step": 0,
            "mu": 1.0,
            "ranks": [20, 80, 150, 150, 150, 900, 700, 500],
            "macs": 300_000_000,
            "top1_error": 60.5,
            "distance": 0.31,
        },
        {"step": 1, "mu": 2.0, "ranks": [9, 40, 90, 95, 110, 700, 500, 300], "macs": 200_000_000, "top1_error": 58.0},
        {"step": 2, "mu": 4.0, "ranks": [7, 28, 69, 71, 88, 506, 349, 255], "macs": 151_530_368},
    ],
}
"""What ``train compress`` writes, its last step under way."""


def a_report(zoo: Zoo) -> Report:
    """Return a report on two models, with markup in the name of its file."""
    cards = [zoo.get("scheme_2/v5"), zoo.get("bundled/scheme_2/v5")]
    return Report(
        file="<img src=x>.lmdb",
        total=100,
        count=90,
        unreadable=((3, "damaged"),),
        models=tuple(ModelResult(card, 90, 43.5, 20.25, 1.5) for card in cards),
        images_per_second=12.0,
        complete=False,
        class_count={291: 60, 293: 30},
        class_right={card.id: ({291: 50, 293: 1}, {291: 60, 293: 10}) for card in cards},
        confused={card.id: ((293, 291, 29),) for card in cards},
        conditions=CONDITIONS,
    )
