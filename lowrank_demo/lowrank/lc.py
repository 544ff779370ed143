"""The learning-compression (LC) algorithm with rank selection, for any network of convolutions and linear layers.

Compression is constrained optimisation: minimise loss(W) + λ · cost(ranks) with W of those ranks (Idelbayev &
Carreira-Perpiñán, CVPR 2020, section 5). The constraint is replaced by a penalty with a growing weight μ, and two steps
alternate: the L step trains the dense weights W on ``loss + μ/2 · ‖W − Δ − M/μ‖²``, the C step (closed form, layer by
layer) finds the low-rank Δ nearest to ``W − M/μ`` with the rank that is worth its cost. M are the multipliers of the
augmented Lagrangian; without them (quadratic penalty) they stay zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .c_step import Criterion, Decomposition, factorised, select_rank, to_matrix, unit_cost


@dataclass(frozen=True)
class Target:
    """A layer that is compressed."""

    module: nn.Conv2d | nn.Linear
    positions: int
    """Output height x width; 1 for a linear layer."""

    def costs(self, scheme: str, criterion: Criterion) -> int:
        """Cost of one more rank."""
        rows, columns = to_matrix(self.module.weight.detach(), scheme).shape
        return unit_cost(rows, columns, self.positions, criterion)


def targets_of(network: nn.Module, example: Tensor) -> dict[str, Target]:
    """Every convolution and linear layer of a network, by name, with its output size.

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
    """The state that the L and C steps share: Δ, M and the ranks, layer by layer.

    Args:
        targets: The layers, from :func:`targets_of`.
        scheme: ``scheme_1`` or ``scheme_2``.
        criterion: What is counted as cost.
        lambda_: Price of the cost, for each 10⁶.
        normalised: Count a layer's lost energy as a share of all of it.
        augmented: Keep multipliers (augmented Lagrangian); else quadratic penalty.
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
    ) -> None:
        self._targets = targets
        self._scheme = scheme
        self._criterion: Criterion = criterion
        self._lambda = lambda_
        self._normalised = normalised
        self._augmented = augmented
        self.delta: dict[str, Tensor] = {name: t.module.weight.detach().clone() for name, t in targets.items()}
        self.multipliers: dict[str, Tensor] = {n: torch.zeros_like(delta) for n, delta in self.delta.items()}
        self.ranks: dict[str, int] = {}

    @torch.no_grad()
    def c_step(self, mu: float) -> dict[str, int]:
        """Choose each layer's rank and Δ for this μ, then move the multipliers; returns the ranks."""
        for name, target in self._targets.items():
            weight = target.module.weight
            shifted = weight - self.multipliers[name] / mu if self._augmented else weight
            decomposition = Decomposition.of(shifted, self._scheme)
            cost = target.costs(self._scheme, self._criterion)
            rank = select_rank(decomposition.s, cost, self._lambda, mu, normalised=self._normalised)
            self.ranks[name] = rank
            self.delta[name] = decomposition.truncated(rank).to(weight.dtype)
            if self._augmented:
                self.multipliers[name] -= mu * (weight - self.delta[name])
        return dict(self.ranks)

    def __call__(self, mu: float) -> Tensor:
        """The penalty μ/2 · Σ ‖W − Δ − M/μ‖², a differentiable scalar to add to the loss."""
        parts = [
            ((target.module.weight - self.delta[name] - self.multipliers[name] / mu) ** 2).sum()
            for name, target in self._targets.items()
        ]
        return mu / 2 * torch.stack(parts).sum()

    @torch.no_grad()
    def distance(self) -> float:
        """‖W − Δ‖ / ‖W‖ over all layers: how far the weights are from the ranks chosen."""
        apart = sum(float(((t.module.weight - self.delta[n]) ** 2).sum()) for n, t in self._targets.items())
        whole = sum(float((t.module.weight**2).sum()) for t in self._targets.values())
        return (apart / whole) ** 0.5 if whole else 0.0

    def macs(self) -> int:
        """Multiply-accumulates of the factored layers at the present ranks, for one image, as the criterion counts."""
        return sum(
            max(self.ranks[name], 1) * target.costs(self._scheme, "flops") for name, target in self._targets.items()
        )

    def state(self) -> dict[str, dict[str, Tensor] | dict[str, int]]:
        """For a checkpoint."""
        return {"delta": self.delta, "multipliers": self.multipliers, "ranks": self.ranks}

    def load(self, state: Mapping[str, Mapping[str, Tensor] | Mapping[str, int]]) -> None:
        """Go on from a checkpoint's state."""
        self.delta = {name: torch.as_tensor(value) for name, value in state["delta"].items()}
        self.multipliers = {name: torch.as_tensor(value) for name, value in state["multipliers"].items()}
        self.ranks = {name: int(value) for name, value in state["ranks"].items()}


def decompose(network: nn.Module, ranks: Mapping[str, int], scheme: str) -> None:
    """Replace layers of a network, in place, by their factors of these ranks, for fine-tuning."""
    for name, rank in ranks.items():
        parent_name, _, child = name.rpartition(".")
        parent = network.get_submodule(parent_name)
        layer = network.get_submodule(name)
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            raise TypeError(f"{name} is {type(layer).__name__}; expected a convolution or linear layer")
        setattr(parent, child, factorised(layer, scheme, rank))


def mu_schedule(first: float, growth: float, steps: int) -> list[float]:
    """μ of each LC step: a geometric progression."""
    return [first * growth**step for step in range(steps)]
