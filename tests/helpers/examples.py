"""Values that several tests start from."""

from __future__ import annotations

from typing import Any

from lowrank_demo.validate.report import Conditions

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
