"""Compress the linear layers of a small transformer at a given λ, on scikit-learn's digits, row by row.

python -m tests.lowrank.examples.transformer
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowrank_demo.lowrank import Compressed, compress
from tests.helpers.digits import error, learn

WIDTH, HEADS, ROWS = 32, 4, 8


class Block(nn.Module):
    """Self-attention, then two linear layers, each beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        heads = (one(y).unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in (self.query, self.key, self.value))
        x = x + self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Reads an image as eight tokens, its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(ROWS, WIDTH))
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.embed(images.reshape(-1, ROWS, 8)) + self.place)
        return self.head(x.mean(1))


@dataclass(frozen=True)
class Result:
    """Errors of the reference and of the compressed network; and what was compressed."""

    reference: float
    compressed: float
    found: Compressed


def main(lambda_: float = 5.0) -> Result:
    """Train the reference, and compress its linear layers at this price of 10⁶ MACs."""
    torch.manual_seed(0)
    model = Transformer()
    learn(model, torch.optim.Adam(model.parameters(), 2e-3), 20)

    def train(network: nn.Module, penalty: Callable[[], Tensor], step: int) -> None:
        learn(network, torch.optim.Adam(network.parameters(), 3e-3), 2, penalty)

    found = compress(
        model,
        train,
        torch.zeros(1, 64),
        lambda_=lambda_,
        schedule=[0.05 * 1.6**step for step in range(10)],
    )
    return Result(error(model), error(found.network), found)


if __name__ == "__main__":
    result = main()
    print(f"error: reference {result.reference:.2%}, compressed {result.compressed:.2%}")
    print(f"{result.found.macs:,} MACs; ranks: {dict(result.found.ranks)}")
    print(f"left alone: {dict(result.found.left_alone)}")
