"""MACs, parameters and file size of a low-rank network, from its ranks alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .architecture import LAYERS, Factor, Layer, factors, full_rank

DENSE_MACS = sum(layer.macs for layer in LAYERS)
"""MACs of the ungrouped dense AlexNet of the same shape, for one image."""


@dataclass(frozen=True)
class LayerCost:
    """What one factored layer costs for one image."""

    layer: Layer
    rank: int
    full_rank: int
    v: Factor
    u: Factor

    @property
    def macs(self) -> int:
        """Multiply-accumulates of both factors."""
        return self.v.macs + self.u.macs

    @property
    def params(self) -> int:
        """Weights and biases of both factors."""
        return self.v.params + self.u.params


@dataclass(frozen=True)
class NetworkCost:
    """What a whole low-rank network costs for one image."""

    scheme: str
    layers: tuple[LayerCost, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolution and linear layers (the paper's FLOPs)."""
        return sum(layer.macs for layer in self.layers)

    @property
    def params(self) -> int:
        """Trainable parameters, batch normalisation included."""
        return sum(layer.params for layer in self.layers) + 2 * self._normalised

    @property
    def fp32_bytes(self) -> int:
        """Bytes of the tensors in a float32 state_dict, running statistics and counters included."""
        normalised_layers = len(self.layers) - 1
        return 4 * (self.params + 2 * self._normalised) + 8 * normalised_layers

    @property
    def _normalised(self) -> int:
        """Channels under batch normalisation: every layer but the last."""
        return sum(cost.layer.outputs for cost in self.layers[:-1])


def network_cost(scheme: str, ranks: Sequence[int]) -> NetworkCost:
    """Cost of the network with these ranks, one for each of the eight layers, conv1 to fc8."""
    costs: list[LayerCost] = []
    for layer, rank in zip(LAYERS, ranks, strict=True):
        v, u = factors(layer, scheme, rank)
        costs.append(LayerCost(layer, rank, full_rank(layer, scheme), v, u))
    return NetworkCost(scheme, tuple(costs))
