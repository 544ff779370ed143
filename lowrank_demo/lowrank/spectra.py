"""What a C step would keep of a network that is here: every layer's singular values, and the cut for any λ and μ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.architecture import LAYERS, matrix_shape, network_cost
from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from .c_step import Criterion, Decomposition, select_rank, unit_cost


@dataclass(frozen=True)
class Cut:
    """The ranks that a C step keeps."""

    lambda_: float
    mu: float
    ranks: tuple[int, ...]
    """Of conv1..fc8; 0 drops a layer."""
    energy: tuple[float, ...]
    """Share of each layer's squared singular values that is kept, 0..1."""
    macs: int
    """Of the network with these ranks, for one image."""


@dataclass(frozen=True)
class Spectra:
    """The singular values of every layer's matrix, conv1..fc8."""

    scheme: str
    values: tuple[Tensor, ...]
    """For each layer float32 [its rank], in descending order; the layer has no more of them."""

    @classmethod
    @torch.no_grad()
    def of(cls, network: LowRankAlexNet) -> Spectra:
        """Of a network's products U · V."""
        values: list[Tensor] = []
        for layer in LAYERS:
            pair = network.get_submodule(layer.key)
            assert isinstance(pair, LowRankLayer)
            values.append(Decomposition.of_factors(pair.V.weight, pair.U.weight, network.scheme).s)
        return cls(network.scheme, tuple(values))

    def cut(self, lambda_: float, mu: float, criterion: Criterion = "flops") -> Cut:
        """What the C step keeps (normalised variant: a layer's lost energy counts as a share of all of it).

        Args:
            lambda_: Price of 10⁶ FLOPs (or stored weights).
            mu: Weight of the lost energy.
            criterion: What is counted as cost.
        """
        ranks: list[int] = []
        energy: list[float] = []
        for layer, values in zip(LAYERS, self.values, strict=True):
            cost = unit_cost(*matrix_shape(layer, self.scheme), layer.out_size**2, criterion)
            ranks.append(select_rank(values, cost, lambda_, mu))
            squares = values.double() ** 2
            total = float(squares.sum())
            energy.append(float(squares[: ranks[-1]].sum()) / total if total else 1.0)
        macs = network_cost(self.scheme, ranks).macs
        return Cut(lambda_, mu, tuple(ranks), tuple(energy), macs)

    def path(self, lambdas: Sequence[float], mu: float, criterion: Criterion = "flops") -> tuple[Cut, ...]:
        """The cut at each λ."""
        return tuple(self.cut(lambda_, mu, criterion) for lambda_ in lambdas)
