"""The singular values of a network's layers, and the ranks that a C step would keep for any λ and μ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..models.architecture import LAYERS, Layer, factors, matrix_shape, network_cost
from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from .c_step import COST_UNIT, Cost, Criterion, lost_energy, select_rank, singular_values, unit_cost


@dataclass(frozen=True)
class Truncation:
    """The ranks that a C step keeps."""

    lambda_: float
    mu: float
    ranks: tuple[int, ...]
    """Ranks of conv1..fc8; 0 drops a layer."""
    energy: tuple[float, ...]
    """Share of each layer's squared singular values that is kept, 0..1."""
    macs: int
    """MACs of the network with these ranks, for one image."""


@dataclass(frozen=True)
class Spectra:
    """The singular values of every layer's matrix, conv1..fc8."""

    scheme: str
    values: tuple[Tensor, ...]
    """float32 [rank] for each layer, in descending order; all further singular values are zero."""
    layers: tuple[Layer, ...] = LAYERS
    """The dense layers."""

    @cached_property
    def _lost(self) -> tuple[Tensor, ...]:
        return tuple(map(lost_energy, self.values))

    @classmethod
    @torch.no_grad()
    def of(cls, network: LowRankAlexNet) -> Spectra:
        """Return the singular values of a network's products U · V."""
        values: list[Tensor] = []
        for layer in network.layers:
            pair = network.get_submodule(layer.key)
            assert isinstance(pair, LowRankLayer)
            values.append(singular_values(pair.V.weight, pair.U.weight))
        return cls(network.scheme, tuple(values), network.layers)

    def truncation(self, lambda_: float, mu: float, criterion: Criterion = "flops", cost: Cost = "true") -> Truncation:
        """Return what the C step keeps (normalised variant: a layer's lost energy counts as a share of its whole).

        Args:
            lambda_: Price of 10⁶ FLOPs (or stored weights).
            mu: Weight of the lost energy.
            criterion: The cost to count.
            cost: ``original`` to count it as the authors did.
        """
        ranks: list[int] = []
        energy: list[float] = []
        for layer, lost in zip(self.layers, self._lost, strict=True):
            ranks.append(select_rank(lost, self._unit(layer, criterion, cost), lambda_, mu))
            energy.append(1 - float(lost[ranks[-1]]))
        macs = network_cost(self.scheme, ranks, self.layers).macs
        return Truncation(lambda_, mu, tuple(ranks), tuple(energy), macs)

    def terms(self, index: int, lambda_: float, mu: float) -> tuple[Tensor, Tensor]:
        """Return the two terms that the C step adds up for each rank from 0, float64: λ · FLOPs and μ/2 · lost energy.

        Args:
            index: The layer, 0 for conv1.
            lambda_: Price of 10⁶ FLOPs.
            mu: Weight of the lost energy.
        """
        lost = self._lost[index]
        unit = self._unit(self.layers[index], "flops", "true")
        return lambda_ * COST_UNIT * unit * torch.arange(len(lost), dtype=torch.float64), mu / 2 * lost

    def kept(self, index: int) -> Tensor:
        """Return the share of a layer's energy that each rank from 0 keeps, float64, 0..1."""
        return 1 - self._lost[index]

    def _unit(self, layer: Layer, criterion: Criterion, cost: Cost) -> int:
        """Return the cost of one more rank of a layer."""
        v, u = (factor.out_size[0] * factor.out_size[1] for factor in factors(layer, self.scheme, 1))
        return unit_cost(*matrix_shape(layer, self.scheme), criterion, u, v if cost == "true" else u)

    def path(self, lambdas: Sequence[float], mu: float, criterion: Criterion = "flops") -> tuple[Truncation, ...]:
        """Return the truncation at each λ."""
        return tuple(self.truncation(lambda_, mu, criterion) for lambda_ in lambdas)
