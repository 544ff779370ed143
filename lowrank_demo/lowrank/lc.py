"""The learning-compression (LC) algorithm with rank selection, for any network of convolutions and linear layers.

Compression is constrained optimisation: minimise loss(W) + λ · cost(ranks) over weights W of those ranks (Idelbayev &
Carreira-Perpiñán, CVPR 2020, section 5). The constraint is replaced by a penalty with a growing weight μ, and two steps
alternate: the L step trains the dense weights W on ``loss + μ/2 · ‖W − Δ − M/μ‖²``; the C step (closed form, layer by
layer) finds the low-rank Δ nearest to ``W − M/μ``, with the rank that is worth its cost. M are the multipliers of the
augmented Lagrangian; without them (quadratic penalty) they stay zero. The compressed network is the one with Δ for W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import TrainingDiverged
from .c_step import COST_UNIT, Cost, Criterion, Decomposition, lost_energy, select_rank
from .layers import Target

_BISECTIONS = 60
"""Halvings of the interval that holds the exponent of λ: to one part in 10¹⁵."""
_EXPONENTS = (-40.0, 40.0)
"""Exponents of ten between which the λ that meets a budget lies."""


def run(
    penalty: LowRankPenalty,
    schedule: Sequence[float],
    l_step: Callable[[int, float], None],
    end_step: Callable[[int, float], None],
    done: int = 0,
) -> None:
    """Run the LC algorithm: for each μ of the schedule an L step, then a C step and new multipliers.

    As in the authors' scripts, the first step has no L step, since the reference has been trained already; and the
    multipliers stay as they are until the last of several steps with the same μ.

    Args:
        penalty: What the two steps share: Δ, M and the ranks.
        schedule: μ of each step, from :func:`mu_schedule`.
        l_step: Called with the step's number, from 1, and μ; trains the dense weights on the loss plus ``penalty(mu)``.
        end_step: Called with the step's number, from 0, and μ, after the C step.
        done: Number of steps done before; their outcome is in ``penalty`` already.
    """
    for step in range(done, len(schedule)):
        mu = schedule[step]
        if step:
            l_step(step, mu)
        penalty.c_step(mu)
        if step + 1 == len(schedule) or schedule[step + 1] != mu:
            penalty.multiplier_step(mu)
        end_step(step, mu)


def mu_schedule(first: float, growth: float, steps: int, repeats: int = 1) -> list[float]:
    """Return μ of each LC step: a geometric progression of ``steps`` values, each ``repeats`` times."""
    return [first * growth**step for step in range(steps) for _ in range(repeats)]


@dataclass(frozen=True)
class Selection:
    """How a C step chooses the ranks."""

    scheme: str
    lambda_: float = 0.0
    """Price of the cost, for each 10⁶."""
    criterion: Criterion = "flops"
    cost: Cost = "true"
    normalised: bool = True
    """Whether a layer's lost energy counts as a share of its whole energy."""
    keep_dense: bool = False
    """Whether a layer stays dense where its factors would not be cheaper; it then has full rank."""
    multiple: int = 1
    """Ranks are multiples of this number, or full."""
    budget: int | None = None
    """Limit on the MACs of all layers together, at least those at the lowest ranks. Each C step then finds λ by
    bisection, and ``lambda_`` is not used."""

    def rank(self, target: Target, lost: Tensor, lambda_: float, mu: float) -> int:
        """Return the rank of a layer.

        Args:
            target: The layer.
            lost: What each rank loses, from :func:`~.c_step.lost_energy`.
            lambda_: Price of 10⁶ of cost.
            mu: Weight of the lost energy.
        """
        unit = target.unit_cost(self.scheme, self.criterion, self.cost)
        dense = target.dense_cost(self.criterion) if self.keep_dense else math.inf
        rank = select_rank(lost, unit, lambda_, mu, dense_cost=dense, multiple=self.multiple)
        return target.full_rank(self.scheme) if self.stays_dense(target, rank) else rank

    def stays_dense(self, target: Target, rank: int) -> bool:
        """Return whether a layer of this rank is not factored."""
        return self.keep_dense and not target.pays(self.scheme, rank, self.criterion)

    def cost_of(self, target: Target, rank: int, criterion: Criterion) -> int:
        """Return the true cost of a layer of this rank; a dropped layer keeps one component of zeros."""
        if self.stays_dense(target, rank):
            return target.dense_cost(criterion)
        return max(rank, 1) * target.unit_cost(self.scheme, criterion)


class LowRankPenalty:
    """The state that the L and C steps share: Δ, its factors, M and the ranks, layer by layer.

    Args:
        targets: The layers, from :func:`~.layers.survey`.
        selection: How ranks are chosen.
        augmented: Use multipliers (augmented Lagrangian) rather than the quadratic penalty alone.
        broadcast: Returns the first process's tensor in every process that trains the network.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        selection: Selection,
        *,
        augmented: bool = True,
        broadcast: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        self._targets = targets
        self._selection = selection
        self._augmented = augmented
        self._broadcast = broadcast
        self.delta: dict[str, Tensor] = {name: t.module.weight.detach().clone() for name, t in targets.items()}
        self.multipliers: dict[str, Tensor] = {n: torch.zeros_like(_wide(delta)) for n, delta in self.delta.items()}
        self.ranks: dict[str, int] = {}
        self.factors: dict[str, tuple[Tensor, Tensor]] = {}
        """Weights of ``V`` and ``U``, whose product is Δ, of the layers that do not stay dense; of rank 1 and zero
        where the rank is 0. They are not part of :meth:`state`."""
        self.lambda_ = selection.lambda_
        """λ of the last C step."""
        self._wanted: dict[str, Tensor] = {}
        """Δ + M/μ for the μ of the present L step, whose batches all use it; empty until the first."""
        self._wanted_mu = 0.0
        self._scale = dict.fromkeys(targets, 1.0)
        if selection.normalised:
            self._scale = {name: float((delta.double() ** 2).sum()) for name, delta in self.delta.items()}

    @torch.no_grad()
    def c_step(self, mu: float) -> dict[str, int]:
        """Choose each layer's rank and Δ for this μ; return the ranks.

        Raises:
            TrainingDiverged: A weight is not finite.
        """
        for name, target in self._targets.items():
            if not torch.isfinite(target.module.weight - self.multipliers[name] / mu).all():
                raise TrainingDiverged(f"The weights of {name} are no longer finite; lower the learning rate, or μ.")
        found: Iterable[tuple[str, Decomposition]] = self._decomposed(mu)
        self.lambda_ = self._selection.lambda_
        if self._selection.budget is not None:
            # Only here are all in memory at once: one λ decides for all layers together.
            found = list(found)
            self.lambda_ = self._lambda_within({name: self._lost(one) for name, one in found}, mu)
        self.ranks, self.factors, self._wanted = {}, {}, {}
        for name, one in found:
            target = self._targets[name]
            rank = self.ranks[name] = self._selection.rank(target, self._lost(one), self.lambda_, mu)
            self.delta[name] = self._broadcast(one.truncated(rank).to(self.delta[name].dtype).contiguous())
            if not self._selection.stays_dense(target, rank):
                self.factors[name] = one.factors(rank)
        return dict(self.ranks)

    @torch.no_grad()
    def multiplier_step(self, mu: float) -> None:
        """Move the multipliers of the augmented Lagrangian by μ times the difference that remains between W and Δ."""
        if self._augmented:
            self._wanted = {}
            for name, target in self._targets.items():
                self.multipliers[name] -= mu * (_wide(target.module.weight) - self.delta[name])

    def __call__(self, mu: float) -> Tensor:
        """Return the penalty μ/2 · Σ ‖W − Δ − M/μ‖², a differentiable scalar to add to the loss."""
        if not self._wanted or self._wanted_mu != mu:
            with torch.inference_mode(False):  # the first call may be one that only looks at the penalty
                self._wanted = {name: _wide(delta) + self.multipliers[name] / mu for name, delta in self.delta.items()}
            self._wanted_mu = mu
        parts = [
            F.mse_loss(_wide(target.module.weight), self._wanted[name], reduction="sum")
            for name, target in self._targets.items()
        ]
        return mu / 2 * torch.stack(parts).sum()

    @torch.no_grad()
    def distance(self) -> float:
        """Return ‖W − Δ‖ / ‖W‖ over all layers: how far the weights are from the chosen ranks."""
        apart = sum(float(((_wide(t.module.weight) - self.delta[n]) ** 2).sum()) for n, t in self._targets.items())
        whole = sum(float((_wide(t.module.weight) ** 2).sum()) for t in self._targets.values())
        return (apart / whole) ** 0.5 if whole else 0.0

    def macs(self) -> int:
        """Return the multiply-accumulates of the layers at the present ranks, for one image."""
        return self._cost(self.ranks, "flops")

    def storage(self) -> int:
        """Return the number of weights of the layers at the present ranks, without biases."""
        return self._cost(self.ranks, "storage")

    def price(self) -> float:
        """Return λ · cost of the present ranks; with the loss, it is what the algorithm minimises.

        The normalised variant weighs a layer's lost energy by 1 / ‖W‖², which is the same as weighing its cost by
        ‖W‖². The norm is that of the weights that the algorithm began with.
        """
        selection, total = self._selection, 0.0
        for name, rank in self.ranks.items():
            target = self._targets[name]
            cost = rank * target.unit_cost(selection.scheme, selection.criterion, selection.cost)
            if selection.stays_dense(target, rank):
                cost = target.dense_cost(selection.criterion)
            total += self.lambda_ * COST_UNIT * cost * self._scale[name]
        return total

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: tensors, numbers and texts only."""
        return {
            "delta": self.delta,
            "multipliers": self.multipliers,
            "ranks": self.ranks,
            "lambda": self.lambda_,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of a checkpoint."""
        devices = {name: target.module.weight.device for name, target in self._targets.items()}
        self.delta = {name: state["delta"][name].to(device) for name, device in devices.items()}
        self.multipliers = {name: state["multipliers"][name].to(device) for name, device in devices.items()}
        self._wanted = {}
        self.ranks = {name: int(state["ranks"][name]) for name in devices}
        self.lambda_ = float(state["lambda"])

    def _decomposed(self, mu: float) -> Iterator[tuple[str, Decomposition]]:
        """Yield each layer's W − M/μ, decomposed."""
        for name, target in self._targets.items():
            yield name, Decomposition.of(target.module.weight - self.multipliers[name] / mu, self._selection.scheme)

    def _lost(self, one: Decomposition) -> Tensor:
        return lost_energy(one.s.cpu(), normalised=self._selection.normalised)

    def _chosen(self, lost: Mapping[str, Tensor], lambda_: float, mu: float) -> dict[str, int]:
        return {name: self._selection.rank(self._targets[name], one, lambda_, mu) for name, one in lost.items()}

    def _cost(self, ranks: Mapping[str, int], criterion: Criterion) -> int:
        return sum(self._selection.cost_of(self._targets[name], rank, criterion) for name, rank in ranks.items())

    def _lambda_within(self, lost: Mapping[str, Tensor], mu: float) -> float:
        """Return the smallest λ whose ranks keep within the budget: MACs fall as λ grows."""
        budget = self._selection.budget
        assert budget is not None

        def fits(lambda_: float) -> bool:
            return self._cost(self._chosen(lost, lambda_, mu), "flops") <= budget

        if fits(0.0):
            return 0.0
        low, high = _EXPONENTS
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(10**middle) else (middle, high)
        return 10**high


def _wide(tensor: Tensor) -> Tensor:
    """Return a tensor of at least float32: sums of squares are soon too large for float16."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
