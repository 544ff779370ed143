"""Scikit-learn's handwritten digits: a real problem that a processor learns in seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Tensor, nn


@lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return 1,200 images to learn from, float32 [n, 64] from 0 to 1, and their labels; then 597 others and theirs."""
    data = datasets.load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16  # pyright: ignore[reportAttributeAccessIssue]
    y = torch.tensor(data.target)  # pyright: ignore[reportAttributeAccessIssue]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return x[:1200], y[:1200], x[1200:], y[1200:]


def learn(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    epochs: int,
    penalty: Callable[[], Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Train a network in place, on the loss plus a penalty."""
    x, y, _, _ = digits()
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(100):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            if penalty is not None:
                loss = loss + penalty()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def error(model: nn.Module) -> float:
    """Return the share of wrong answers on the digits that were not learned from."""
    _, _, x, y = digits()
    with torch.inference_mode():
        return float((model.eval()(x).argmax(1) != y).float().mean())
