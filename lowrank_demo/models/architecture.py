"""The architecture as data: layers, schemes, the two factors of each layer, MACs and parameters.

All code that counts, draws or builds the network reads this one description: AlexNet with batch normalisation, without
groups, for 227 x 227 inputs (Idelbayev & Carreira-Perpiñán, CVPR 2020). Networks and their costs take ``layers``, so
that tests can use the same network with few channels. This module does not load torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Scheme = Literal["scheme_1", "scheme_2"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
NUM_CLASSES = 1000
INPUT_SIZE = 227
"""Height and width of the input image, in pixels."""


@dataclass(frozen=True)
class Layer:
    """One convolution or linear layer of the dense network."""

    name: str
    kind: Literal["conv", "linear"]
    key: str
    """Prefix of its keys in the state_dict, such as ``features.0``."""
    inputs: int
    """Input channels or features."""
    outputs: int
    """Output channels or features."""
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    in_size: int = 1
    """Height and width of the layer's input."""
    pool_after: bool = False
    """Whether max pooling follows."""

    @property
    def out_size(self) -> int:
        """Height and width of the layer's output."""
        return (self.in_size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations (MACs) of the dense layer for one image."""
        return self.outputs * self.inputs * self.kernel**2 * self.out_size**2

    @property
    def params(self) -> int:
        """Number of weights and biases of the dense layer."""
        return self.outputs * self.inputs * self.kernel**2 + self.outputs


LAYERS = (
    Layer("conv1", "conv", "features.0", 3, 96, 11, 4, 2, INPUT_SIZE, pool_after=True),
    Layer("conv2", "conv", "features.4", 96, 256, 5, 1, 2, 27, pool_after=True),
    Layer("conv3", "conv", "features.8", 256, 384, 3, 1, 1, 13),
    Layer("conv4", "conv", "features.11", 384, 384, 3, 1, 1, 13),
    Layer("conv5", "conv", "features.14", 384, 256, 3, 1, 1, 13, pool_after=True),
    Layer("fc6", "linear", "classifier.0", 9216, 4096),
    Layer("fc7", "linear", "classifier.4", 4096, 4096),
    Layer("fc8", "linear", "classifier.8", 4096, NUM_CLASSES),
)


@dataclass(frozen=True)
class Factor:
    """One of a layer's two factors: ``V``, the first, without bias, or ``U``, the second, with bias.

    Pairs are (vertical, horizontal).
    """

    name: Literal["V", "U"]
    outputs: int
    inputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    out_size: tuple[int, int]
    bias: bool
    kind: Literal["conv", "linear"]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight in the state_dict."""
        if self.kind == "linear":
            return (self.outputs, self.inputs)
        return (self.outputs, self.inputs, *self.kernel)

    @property
    def macs(self) -> int:
        """MACs for one image, without the bias."""
        return self.outputs * self.inputs * self.kernel[0] * self.kernel[1] * self.out_size[0] * self.out_size[1]

    @property
    def params(self) -> int:
        """Number of weights and biases."""
        weights = self.outputs * self.inputs * self.kernel[0] * self.kernel[1]
        return weights + (self.outputs if self.bias else 0)


def factors(layer: Layer, scheme: str, rank: int) -> tuple[Factor, Factor]:
    """Return the factors V and U of ``layer`` at ``rank`` (paper, section 4).

    In scheme 1, V is a k x k convolution to ``rank`` channels with the layer's stride and padding, and U is a 1 x 1
    convolution. In scheme 2, V is a 1 x k convolution with the horizontal stride and padding, and U is a k x 1
    convolution with the vertical ones, so V runs at the full input height. In both, a linear layer becomes two linear
    layers.
    """
    k, s, p, out = layer.kernel, layer.stride, layer.padding, layer.out_size
    if layer.kind == "linear" or scheme == "scheme_1":
        v = Factor("V", rank, layer.inputs, (k, k), (s, s), (p, p), (out, out), False, layer.kind)
        u = Factor("U", layer.outputs, rank, (1, 1), (1, 1), (0, 0), (out, out), True, layer.kind)
    else:
        v = Factor("V", rank, layer.inputs, (1, k), (1, s), (0, p), (layer.in_size, out), False, layer.kind)
        u = Factor("U", layer.outputs, rank, (k, 1), (s, 1), (p, 0), (out, out), True, layer.kind)
    return v, u


def matrix_shape(layer: Layer, scheme: str) -> tuple[int, int]:
    """Return (rows, columns) of the matrix whose rank the scheme learns.

    Scheme 1 reshapes W[n, m, k, k] to n x (m k k), scheme 2 to (n k) x (m k).
    """
    k = layer.kernel
    if scheme == "scheme_1":
        return layer.outputs, layer.inputs * k * k
    return layer.outputs * k, layer.inputs * k


def full_rank(layer: Layer, scheme: str) -> int:
    """Return the largest rank that the layer's matrix can have."""
    return min(matrix_shape(layer, scheme))


CONVOLUTIONS = slice(sum(layer.kind == "conv" for layer in LAYERS))
"""Which of a network's ranks are those of convolutions: they come first."""


def log_ranks(ranks: Sequence[int]) -> list[float]:
    """Return the logarithms of the convolutions' ranks; rank 0 counts as 1."""
    return [math.log(max(rank, 1)) for rank in ranks[CONVOLUTIONS]]


def log_distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the distance of two sets of logarithms: the sum of their differences."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=False))


DENSE_MACS = sum(layer.macs for layer in LAYERS)
"""MACs of the dense network for one image."""


@dataclass(frozen=True)
class LayerCost:
    """The cost of one factored layer for one image."""

    layer: Layer
    rank: int
    full_rank: int
    v: Factor
    u: Factor

    @property
    def macs(self) -> int:
        """MACs of both factors."""
        return self.v.macs + self.u.macs

    @property
    def params(self) -> int:
        """Number of weights and biases of both factors."""
        return self.v.params + self.u.params


@dataclass(frozen=True)
class NetworkCost:
    """The cost of a low-rank network for one image."""

    scheme: str
    layers: tuple[LayerCost, ...]

    @property
    def macs(self) -> int:
        """MACs of the convolution and linear layers; the paper calls them FLOPs."""
        return sum(layer.macs for layer in self.layers)

    @property
    def params(self) -> int:
        """Number of trainable parameters, with those of batch normalisation."""
        return sum(layer.params for layer in self.layers) + 2 * self._normalised

    @property
    def fp32_bytes(self) -> int:
        """Bytes of all tensors in a float32 state_dict, with running statistics and counters."""
        normalised_layers = len(self.layers) - 1
        return 4 * (self.params + 2 * self._normalised) + 8 * normalised_layers

    @property
    def _normalised(self) -> int:
        """Number of channels with batch normalisation, which every layer but the last has."""
        return sum(cost.layer.outputs for cost in self.layers[:-1])


def network_cost(scheme: str, ranks: Sequence[int], layers: Sequence[Layer] = LAYERS) -> NetworkCost:
    """Return the cost of the network with these ranks, one for each layer, conv1 to fc8."""
    costs: list[LayerCost] = []
    for layer, rank in zip(layers, ranks, strict=True):
        v, u = factors(layer, scheme, rank)
        costs.append(LayerCost(layer, rank, full_rank(layer, scheme), v, u))
    return NetworkCost(scheme, tuple(costs))
