"""Inputs that the authors' library was run on, and what it returned: ``original.json``.

The library is UCMerced-ML/LC-model-compression at commit bf12c3c. Its ``RankSelection.compress`` ran on the cases
below; its ``CaffeBNLowRankAlexNet`` was built with the nine rank sets after ``torch.manual_seed(0)`` and computed two
images, in evaluation mode, and in training mode after ``torch.manual_seed(5)``. None of its code is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lowrank_demo.models.architecture import Scheme

CASES = 1324


@dataclass(frozen=True)
class Case:
    """One C step."""

    weight: np.ndarray
    """float64 [n, m] of a linear layer, [n, m, k, k] of a convolution."""
    scheme: Scheme
    criterion: Literal["storage", "flops"]
    positions: int
    """Output height x width, which the authors' FLOPs multiply every weight by."""
    normalised: bool
    lambda_: float
    """Price of 10⁶ of cost: the authors' alpha times 10⁶."""
    mu: float


def case(seed: int) -> Case:
    """Make an input from its number, by NumPy's legacy generator, whose values never change."""
    chance = np.random.RandomState(seed)
    if chance.rand() < 0.4:
        shape = tuple(chance.randint(4, 80, 2))
    else:
        kernel = (1, 3, 5, 11)[chance.randint(4)]
        shape = (*chance.randint(3, 40, 2), kernel, kernel)
    weight = chance.randn(*shape) / np.sqrt(np.prod(shape[1:]))
    if chance.rand() < 0.7:  # a spectrum that falls, as those of trained layers do
        u, s, vh = np.linalg.svd(weight.reshape(shape[0], -1), full_matrices=False)
        weight = ((u * s * np.exp(-chance.uniform(0.01, 0.4) * np.arange(len(s)))) @ vh).reshape(shape)
    scheme = ("scheme_1", "scheme_2")[chance.randint(2)]
    criterion = ("storage", "flops")[chance.randint(2)]
    positions = 1 if len(shape) == 2 else int(chance.randint(1, 60)) ** 2
    normalised = bool(chance.randint(2))
    mu = float(10.0 ** chance.uniform(-4, 1))
    # Around what makes neighbouring ranks compete.
    rows = shape[0] * (shape[2] if len(shape) == 4 and scheme == "scheme_2" else 1)
    unit = (rows + weight.size // rows) * (positions if criterion == "flops" else 1) * 1e-6
    energy = 1.0 if normalised else float((weight**2).sum())
    lambda_ = mu * energy / unit * float(10.0 ** chance.uniform(-5, 0))
    return Case(weight, scheme, criterion, positions, normalised, lambda_, mu)
