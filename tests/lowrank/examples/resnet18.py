"""Compress a residual network to a given cost: torchvision's ``resnet18``, narrow, on scikit-learn's digits.

python -m tests.lowrank.examples.resnet18
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowrank_demo.lowrank import Compressed, compress
from tests.helpers.digits import error, learn

WIDTH = 8
"""Channels of the first stage; 64 in ``resnet18``."""


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut, with torchvision's names."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """``resnet18`` for images of 8 x 8 pixels: a stem of one small convolution, without pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        widths = [WIDTH, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(BasicBlock(a, b, 1 if stage == 0 else 2), BasicBlock(b, b, 1))
            for stage, (a, b) in enumerate(pairwise(widths))
        )
        self.fc = nn.Linear(8 * WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x.reshape(-1, 1, 8, 8))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


@dataclass(frozen=True)
class Result:
    """Errors of the reference, the compressed network, and the fine-tuned one; and what was compressed."""

    reference: float
    compressed: float
    finetuned: float
    found: Compressed


def _sgd(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9, nesterov=True)


def main(target_macs: int = 300_000) -> Result:
    """Train the reference, compress it to so many MACs, and fine-tune what comes out."""
    torch.manual_seed(0)
    model = ResNet18()
    learn(model, _sgd(model, 0.05), 5)

    def train(network: nn.Module, penalty: Callable[[], Tensor], step: int) -> None:
        learn(network, _sgd(network, 0.02), 1, penalty)

    found = compress(
        model,
        train,
        torch.zeros(1, 64),
        target_macs=target_macs,
        rank_multiple=2,
        exclude=["conv1", "fc"],
        schedule=[0.1 * 2**step for step in range(6)],
    )
    compressed = error(found.network)
    learn(found.network, _sgd(found.network, 0.01), 1)
    return Result(error(model), compressed, error(found.network), found)


if __name__ == "__main__":
    result = main()
    print(f"error: reference {result.reference:.2%}, {result.compressed:.2%} compressed, {result.finetuned:.2%} tuned")
    print(f"{result.found.macs:,} MACs; ranks: {dict(result.found.ranks)}")
    print(f"left alone: {dict(result.found.left_alone)}")
