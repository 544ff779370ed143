"""Scikit-learn's handwritten digits: a real problem that a processor learns in seconds."""

from __future__ import annotations

from functools import lru_cache

import torch
from sklearn import datasets
from torch import Tensor


@lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return 1,200 images to learn from, float32 [n, 64] from 0 to 1, and their labels; then 597 others and theirs."""
    data = datasets.load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16  # pyright: ignore[reportAttributeAccessIssue]
    y = torch.tensor(data.target)  # pyright: ignore[reportAttributeAccessIssue]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return x[:1200], y[:1200], x[1200:], y[1200:]
