"""The LC algorithm beside the same steps computed as the authors' library does: a whole SVD, and M/μ in each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lowrank_demo.lowrank.c_step import COST_UNIT, Decomposition, lost_energy, select_rank
from lowrank_demo.lowrank.layers import survey
from lowrank_demo.lowrank.lc import LowRankPenalty, Selection
from lowrank_demo.nn.alexnet import DenseAlexNet
from tests.bench.measure import Outcome, Result, Unmeasured, interleaved

_MU = 1.0


def lc() -> Iterator[Outcome]:
    """Seconds of a C step, from the weight to the low-rank one, and of a batch's penalty with its gradient."""
    try:
        from scipy.linalg import svd
    except ImportError:
        yield Unmeasured("C steps", "scipy, which the authors' library decomposes with, is not installed")
    else:
        for size, repeats in ((1152, 5), (4096, 1)):
            weight = layer_like(size)
            ours, theirs = c_steps(weight, lambda_at(weight, size // 4), svd)
            here, there = interleaved([ours, theirs], repeats)
            yield Result(f"C step of {size} x {size}", here, there, "s", "scipy's SVD, as in the authors' library", 1.0)
    ours, theirs = penalties()
    here, there = interleaved([ours, theirs], 5)
    yield Result("penalty of AlexNet and its gradient", here, there, "s", "the authors' formula in each batch", 1.0)


def c_steps(
    weight: Tensor, lambda_: float, svd: Callable[..., tuple[np.ndarray, ...]]
) -> tuple[Callable[[], Tensor], Callable[[], np.ndarray]]:
    """Return our C step and the authors', which choose the same rank."""
    cost, matrix = sum(weight.shape), weight.numpy()

    def ours() -> Tensor:
        found = Decomposition.of(weight, "scheme_1")
        rank = select_rank(lost_energy(found.s), cost, lambda_, _MU)
        v, u = found.factors(rank)
        return u @ v

    def theirs() -> np.ndarray:
        u, s, v = svd(matrix, full_matrices=False)
        lost = (s[::-1] ** 2).cumsum()[::-1]
        objective = lambda_ * COST_UNIT * cost * np.arange(len(s)) + _MU / 2 * lost / lost[0]
        rank = int(objective.argmin())
        root = np.diag(s[:rank] ** 0.5)
        return (u[:, :rank] @ root) @ (root @ v[:rank])

    return ours, theirs


def penalties() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the penalty's forward and backward pass as ours and by the authors' formula, at AlexNet's size."""
    network = DenseAlexNet()
    penalty = LowRankPenalty(survey(network, torch.zeros(1, 3, 227, 227)).targets, Selection("scheme_1"))
    weights: dict[str, nn.Parameter] = {name: network.get_parameter(f"{name}.weight") for name in penalty.delta}

    def theirs() -> Tensor:
        parts = [((w - penalty.delta[n] - penalty.multipliers[n] / _MU) ** 2).sum() for n, w in weights.items()]
        return _MU / 2 * torch.stack(parts).sum()

    def passed(one: Callable[[], Tensor]) -> None:
        network.zero_grad(set_to_none=True)
        one().backward()

    return lambda: passed(lambda: penalty(_MU)), lambda: passed(theirs)


def layer_like(size: int) -> Tensor:
    """Return a matrix whose singular values fall as a trained layer's do: quickly, then slowly."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(size, size, generator=generator)).Q for _ in range(2))
    return left * torch.arange(1, size + 1) ** -0.5 @ right


def lambda_at(weight: Tensor, rank: int) -> float:
    """Return the λ at which a C step keeps this rank."""
    lost = lost_energy(torch.arange(1, len(weight) + 1) ** -0.5)
    return float(_MU / 2 * (lost[rank - 1] - lost[rank + 1]) / 2 / (COST_UNIT * sum(weight.shape)))
