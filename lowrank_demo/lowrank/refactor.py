"""Bring a low-rank network to another scheme or other ranks: factor the product of each layer anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from ..nn.nested import NestedAlexNet
from .c_step import Decomposition, cut_factors
from .factors import product


def dense_weight(layer: LowRankLayer) -> Tensor:
    """Return the weight of the single layer that computes what ``V`` and then ``U`` compute, without the bias.

    Returns:
        Float [outputs, inputs, k, k] of a convolution, [outputs, inputs] of a linear layer.
    """
    return product(layer.V.weight, layer.U.weight)


@torch.no_grad()
def refactored(network: LowRankAlexNet, scheme: str, ranks: Sequence[int]) -> LowRankAlexNet:
    """Return a network of this scheme and these ranks, as near to the given one as each layer's truncated SVD allows.

    A layer whose rank grows computes the same as before: the new components have random ``V`` and zero ``U``, so that
    training can use them (if both were zero they would stay zero).
    """
    made = LowRankAlexNet(scheme, ranks, network.layers)
    state = made.state_dict()
    old = network.state_dict()
    for layer, rank in zip(made.layers, made.ranks, strict=True):
        given = network.get_submodule(layer.key)
        assert isinstance(given, LowRankLayer)
        keys = {name: f"{layer.key}.{name}.weight" for name in "VU"}
        v, u = given.V.weight, given.U.weight
        linear = layer.kind == "linear"
        if scheme != network.scheme and not linear:
            v, u = Decomposition.of(dense_weight(given), scheme).factors(rank)
        elif rank < v.shape[0]:
            v, u = cut_factors(v, u, scheme, rank)
        kept = v.shape[0]
        new_v, new_u = state[keys["V"]], torch.zeros_like(state[keys["U"]])
        new_v[:kept], new_u[:, :kept] = v, u
        old |= {keys["V"]: new_v, keys["U"]: new_u}
    made.load_state_dict(old)
    return made


@torch.no_grad()
def truncated(network: LowRankAlexNet, ranks: Sequence[int]) -> LowRankAlexNet:
    """Return the network with each layer truncated to a lower rank, as near as its SVD allows; nothing is trained.

    Args:
        network: A network at its own ranks.
        ranks: At most the network's own. A layer of rank 0 outputs its bias alone; it keeps one channel of zeros, since
            modules have at least one.
    """
    made = refactored(network, network.scheme, [max(rank, 1) for rank in ranks])
    for layer, rank in zip(made.layers, ranks, strict=True):
        if rank == 0:
            made.get_parameter(f"{layer.key}.U.weight").zero_()
    return made


@torch.no_grad()
def order_components(nested: NestedAlexNet) -> None:
    """Order the components of linear layers by their singular values, in place; no version computes anything else.

    The components that a version has beyond the next smaller one are ordered among themselves. So a cut below the
    smallest version is the truncated SVD of that version's linear layers, and a cut between two versions loses little.
    V carries the singular values, because it is stored with a scale for each component; the columns of U have length 1.
    """
    tensors = nested.tensors()
    for place, layer in enumerate(nested.layers):
        if layer.kind != "linear":
            continue
        v, u = tensors[f"{layer.key}.V.weight"], tensors[f"{layer.key}.U.weight"]
        first = 0
        for rank in sorted({version.ranks[place] for version in nested.versions}):
            block_v, block_u = cut_factors(v[first:rank], u[:, first:rank], "scheme_1", rank - first)
            lengths = block_u.norm(dim=0).clamp(min=1e-12)
            v[first:rank], u[:, first:rank] = block_v * lengths[:, None], block_u / lengths
            first = rank
