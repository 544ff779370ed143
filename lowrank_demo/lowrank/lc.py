"""The learning-compression (LC) algorithm with rank selection, for any network of convolutions and linear layers.

Compression is constrained optimisation: minimise loss(W) + λ · cost(ranks) over weights W of those ranks (Idelbayev &
Carreira-Perpiñán, CVPR 2020, section 5). The constraint is replaced by a penalty with a growing weight μ, and two steps
alternate: the C step (closed form, layer by layer) finds the low-rank Δ nearest to ``W − M/μ``, with the rank that is
worth its cost; the L step trains the dense weights W on ``loss + μ/2 · ‖W − Δ − M/μ‖²``. M are the multipliers of the
augmented Lagrangian; without them (quadratic penalty) they stay zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .c_step import Criterion, Decomposition, factorised, lost_energy, select_rank, to_matrix, unit_cost


def run(
    penalty: LowRankPenalty, schedule: Sequence[float], l_step: Callable[[int, float], None], c_steps_done: int = 0
) -> None:
    """Run the LC algorithm: for each μ of the schedule a C step, then an L step.

    Args:
        penalty: What the two steps share: Δ, M and the ranks.
        schedule: μ of each step, from :func:`mu_schedule`.
        l_step: Called with the step's number and μ; trains the dense weights on the loss plus ``penalty(mu)``. In a
            resumed run it is also called for the steps done before, and has nothing left to do for those.
        c_steps_done: Number of C steps done before; what they chose is in ``penalty`` already.
    """
    for step, mu in enumerate(schedule):
        if step >= c_steps_done:
            penalty.c_step(mu)
        l_step(step, mu)


def mu_schedule(first: float, growth: float, steps: int) -> list[float]:
    """Return μ of each LC step, a geometric progression."""
    return [first * growth**step for step in range(steps)]


@dataclass(frozen=True)
class Target:
    """A layer to compress."""

    module: nn.Conv2d | nn.Linear
    positions: int
    """Output height x width; 1 for a linear layer."""

    def unit_cost(self, scheme: str, criterion: Criterion) -> int:
        """Return the cost of one more rank."""
        rows, columns = to_matrix(self.module.weight.detach(), scheme).shape
        return unit_cost(rows, columns, self.positions, criterion)


def targets_of(network: nn.Module, example: Tensor) -> dict[str, Target]:
    """Return every convolution and linear layer of a network, by name, with its output size.

    Args:
        network: Run once on ``example``, in evaluation mode.
        example: One input of the right shape.

    Raises:
        ValueError: A convolution is grouped or dilated, which the schemes do not cover.
    """
    positions: dict[str, int] = {}
    hooks = []
    layers: dict[str, nn.Conv2d | nn.Linear] = {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        if isinstance(module, nn.Conv2d) and (module.groups != 1 or set(module.dilation) != {1}):
            raise ValueError(f"{name} is grouped or dilated; expected a plain convolution")

        def record(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            positions[name] = output.shape[-2] * output.shape[-1] if isinstance(module, nn.Conv2d) else 1

        layers[name] = module
        hooks.append(module.register_forward_hook(record))
    training = network.training
    with torch.no_grad():
        network.eval()(example)
    network.train(training)
    for hook in hooks:
        hook.remove()
    return {name: Target(module, positions[name]) for name, module in layers.items() if name in positions}


class LowRankPenalty:
    """The state that the L and C steps share: Δ, its factors, M and the ranks, layer by layer.

    Args:
        targets: The layers, from :func:`targets_of`.
        scheme: ``scheme_1`` or ``scheme_2``.
        criterion: The cost to count.
        lambda_: Price of the cost, for each 10⁶.
        normalised: Count a layer's lost energy as a share of its whole energy.
        augmented: Use multipliers (augmented Lagrangian) rather than the quadratic penalty alone.
        broadcast: Returns the first process's tensor in every process that trains the network.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        *,
        scheme: str,
        criterion: Criterion = "flops",
        lambda_: float,
        normalised: bool = True,
        augmented: bool = True,
        broadcast: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        self._targets = targets
        self._scheme = scheme
        self._criterion: Criterion = criterion
        self._lambda = lambda_
        self._normalised = normalised
        self._augmented = augmented
        self._broadcast = broadcast
        self.delta: dict[str, Tensor] = {name: t.module.weight.detach().clone() for name, t in targets.items()}
        self.multipliers: dict[str, Tensor] = {n: torch.zeros_like(delta) for n, delta in self.delta.items()}
        self.ranks: dict[str, int] = {}
        self.factors: dict[str, tuple[Tensor, Tensor]] = {}
        """Weights of the modules ``V`` and ``U`` whose product is Δ; of rank 1 and zero where the rank is 0."""

    @torch.no_grad()
    def c_step(self, mu: float) -> dict[str, int]:
        """Choose each layer's rank and Δ for this μ, then move the multipliers; return the ranks."""
        for name, target in self._targets.items():
            weight = target.module.weight
            shifted = weight - self.multipliers[name] / mu if self._augmented else weight
            decomposition = Decomposition.of(shifted, self._scheme)
            cost = target.unit_cost(self._scheme, self._criterion)
            rank = select_rank(lost_energy(decomposition.s, normalised=self._normalised), cost, self._lambda, mu)
            self.ranks[name] = rank
            self.factors[name] = decomposition.factors(rank)
            self.delta[name] = self._broadcast(decomposition.truncated(rank).to(weight.dtype).contiguous())
            if self._augmented:
                self.multipliers[name] -= mu * (weight - self.delta[name])
        return dict(self.ranks)

    def __call__(self, mu: float) -> Tensor:
        """Return the penalty μ/2 · Σ ‖W − Δ − M/μ‖², a differentiable scalar to add to the loss."""
        parts = [
            ((target.module.weight - self.delta[name] - self.multipliers[name] / mu) ** 2).sum()
            for name, target in self._targets.items()
        ]
        return mu / 2 * torch.stack(parts).sum()

    @torch.no_grad()
    def distance(self) -> float:
        """Return ‖W − Δ‖ / ‖W‖ over all layers: how far the weights are from the chosen ranks."""
        apart = sum(float(((t.module.weight - self.delta[n]) ** 2).sum()) for n, t in self._targets.items())
        whole = sum(float((t.module.weight**2).sum()) for t in self._targets.values())
        return (apart / whole) ** 0.5 if whole else 0.0

    def macs(self) -> int:
        """Return the multiply-accumulates of the factored layers at the present ranks, for one image."""
        return sum(
            max(self.ranks[name], 1) * target.unit_cost(self._scheme, "flops") for name, target in self._targets.items()
        )

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: tensors, integers and texts only."""
        return {
            "scheme": self._scheme,
            "delta": self.delta,
            "multipliers": self.multipliers,
            "ranks": self.ranks,
            "factors": self.factors,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of a checkpoint."""
        devices = {name: target.module.weight.device for name, target in self._targets.items()}
        self.delta = {name: state["delta"][name].to(device) for name, device in devices.items()}
        self.multipliers = {name: state["multipliers"][name].to(device) for name, device in devices.items()}
        self.ranks = {name: int(state["ranks"][name]) for name in devices}
        self.factors = {name: tuple(state["factors"][name]) for name in devices}


def decompose(network: nn.Module, ranks: Mapping[str, int], scheme: str) -> None:
    """Replace layers of a network, in place, by their factors of these ranks, for fine-tuning.

    Raises:
        TypeError: A name is not that of a convolution or linear layer.
    """
    for name, rank in ranks.items():
        parent_name, _, child = name.rpartition(".")
        parent = network.get_submodule(parent_name)
        layer = network.get_submodule(name)
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            raise TypeError(f"{name} is {type(layer).__name__}; expected a convolution or linear layer")
        setattr(parent, child, factorised(layer, scheme, rank))
