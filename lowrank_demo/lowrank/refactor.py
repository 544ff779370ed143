"""A low-rank network brought to another scheme or other ranks: each layer's product, factored anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..models.architecture import LAYERS
from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from .c_step import Decomposition


def dense_weight(layer: LowRankLayer) -> Tensor:
    """The weight of the one layer that does what ``V`` and then ``U`` do, biases aside.

    Returns:
        Float [outputs, inputs, k, k] of a convolution, [outputs, inputs] of a linear layer.
    """
    u, v = layer.U.weight, layer.V.weight
    if isinstance(layer.U, nn.Linear):
        return u @ v
    product = torch.einsum("nrab,rmcd->nmacbd", u, v)
    n, m, a, c, b, d = product.shape
    return product.reshape(n, m, a * c, b * d)


@torch.no_grad()
def refactored(network: LowRankAlexNet, scheme: str, ranks: Sequence[int]) -> LowRankAlexNet:
    """A network of this scheme and these ranks, as near to the given one as each layer's truncated SVD allows.

    Where a layer's rank grows it computes the same as before: the new components have random ``V`` and zero ``U``, so
    that training can use them (zeros in both would never move).
    """
    made = LowRankAlexNet(scheme, ranks)
    state = made.state_dict()
    old = network.state_dict()
    for layer, rank in zip(LAYERS, made.ranks, strict=True):
        given = network.get_submodule(layer.key)
        assert isinstance(given, LowRankLayer)
        keys = {name: f"{layer.key}.{name}.weight" for name in "VU"}
        v, u = given.V.weight, given.U.weight
        linear = layer.kind == "linear"
        if scheme != network.scheme and not linear:
            v, u = Decomposition.of(dense_weight(given), scheme).factors(rank)
        elif rank < v.shape[0]:
            v, u = Decomposition.of_factors(v, u, scheme).factors(rank)
        kept = v.shape[0]
        new_v, new_u = state[keys["V"]], torch.zeros_like(state[keys["U"]])
        new_v[:kept], new_u[:, :kept] = v, u
        old |= {keys["V"]: new_v, keys["U"]: new_u}
    made.load_state_dict(old)
    return made


@torch.no_grad()
def truncated(network: LowRankAlexNet, ranks: Sequence[int]) -> LowRankAlexNet:
    """The network with each layer cut to fewer ranks, as near as its SVD allows; nothing is trained.

    Args:
        network: At its own ranks.
        ranks: At most the network's own. A layer of rank 0 gives nothing but its bias; it keeps one channel of zeros,
            since modules have at least one.
    """
    made = refactored(network, network.scheme, [max(rank, 1) for rank in ranks])
    for layer, rank in zip(LAYERS, ranks, strict=True):
        if rank == 0:
            made.get_parameter(f"{layer.key}.U.weight").zero_()
    return made
