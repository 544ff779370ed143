"""The singular values of a network's layers, and the ranks that a C step would keep of it for any λ and μ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..models.architecture import LAYERS, Layer, factors, matrix_shape, network_cost
from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from .c_step import Cost, Criterion, lost_energy, select_rank, singular_values, unit_cost


@dataclass(frozen=True)
class Truncation:
    """The ranks that a C step keeps."""

    lambda_: float
    mu: float
    ranks: tuple[int, ...]
    """Of conv1..fc8; 0 drops a layer."""
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
            v, u = (factor.out_size[0] * factor.out_size[1] for factor in factors(layer, self.scheme, 1))
            unit = unit_cost(*matrix_shape(layer, self.scheme), criterion, u, v if cost == "true" else u)
            ranks.append(select_rank(lost, unit, lambda_, mu))
            energy.append(1 - float(lost[ranks[-1]]))
        macs = network_cost(self.scheme, ranks, self.layers).macs
        return Truncation(lambda_, mu, tuple(ranks), tuple(energy), macs)

    def path(self, lambdas: Sequence[float], mu: float, criterion: Criterion = "flops") -> tuple[Truncation, ...]:
        """Return the truncation at each λ."""
        return tuple(self.truncation(lambda_, mu, criterion) for lambda_ in lambdas)
