"""Lower ranks chosen by what layers compute of real images, not by their weights alone.

The nearest matrix of rank r to a weight M keeps M's largest singular values, whatever the inputs are. What a network
needs is that M·x stays near for the inputs x that it meets: the answer is M projected on the r main directions of its
outputs (the linear case of Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and
Detection", TPAMI 2016). Each layer sees the inputs that the layers cut before it give, and every batch normalisation
is measured anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..architecture import LAYERS
from .alexnet import LowRankAlexNet, LowRankLayer
from .rank_selection import to_matrix
from .refactor import dense_weight, refactored

_PART = 16
"""Images at a time: scheme 2's first outputs are large."""


@torch.no_grad()
def calibrated(network: LowRankAlexNet, scheme: str, ranks: Sequence[int], images: Tensor) -> LowRankAlexNet:
    """A network of this scheme and these ranks that computes of the images what the given one does, as near as can be.

    Args:
        network: Left as it is.
        scheme: Of the new network.
        ranks: Of the new network; where a layer's rank grows it is as in :func:`~.refactor.refactored`.
        images: Normalised float32 [n, 3, 227, 227], like those that the network will meet.
    """
    made = refactored(network, scheme, ranks).eval()
    layers = {made.get_submodule(layer.key): layer for layer in LAYERS}
    parts = list(images.split(_PART))
    for module in (*made.features, nn.Flatten(), *made.classifier):
        if isinstance(module, LowRankLayer):
            given = network.get_submodule(layers[module].key)
            assert isinstance(given, LowRankLayer)
            rank = module.V.weight.shape[0]
            changed = scheme != network.scheme and layers[module].kind == "conv"
            if changed or rank < given.V.weight.shape[0]:
                _project(module, to_matrix(dense_weight(given), scheme), parts)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            _measure(module, parts)
        parts = [module(part) for part in parts]
    return made


def _project(pair: LowRankLayer, matrix: Tensor, parts: Sequence[Tensor]) -> None:
    """Set ``V`` and ``U`` to the matrix, projected on the main directions of its outputs."""
    v, u = pair.V, pair.U
    rank = v.weight.shape[0]
    whole = matrix.reshape(-1, *v.weight.shape[1:])
    count, mean, moment = 0, 0.0, 0.0
    for part in parts:
        if isinstance(v, nn.Conv2d):
            outputs = F.conv2d(part, whole, None, v.stride, v.padding).transpose(0, 1).flatten(1)
        else:
            outputs = (part @ whole.T).T
        count += outputs.shape[1]
        mean = mean + outputs.sum(1).double()
        moment = moment + (outputs @ outputs.T).double()
    assert isinstance(mean, Tensor)
    assert isinstance(moment, Tensor)
    mean = mean / count
    # The mean itself need not be kept: the batch normalisation behind subtracts it.
    _, vectors = torch.linalg.eigh(moment / count - torch.outer(mean, mean))
    left = vectors.flip(1)[:, :rank].to(matrix.dtype)
    right = left.T @ matrix
    balance = right.norm(dim=1).clamp(min=1e-12).sqrt()
    right, left = right / balance[:, None], left * balance
    v.weight.copy_(right.reshape(v.weight.shape))
    if isinstance(u, nn.Conv2d):
        # Scheme 2's rows are (output, vertical position).
        left = left.reshape(u.weight.shape[0], -1, rank).transpose(1, 2)
    u.weight.copy_(left.reshape(u.weight.shape))


def _measure(normalisation: nn.BatchNorm1d | nn.BatchNorm2d, parts: Sequence[Tensor]) -> None:
    """Set mean and variance to those of all parts together."""
    values = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], 1).double()
    assert normalisation.running_mean is not None
    assert normalisation.running_var is not None
    normalisation.running_mean.copy_(values.mean(1))
    normalisation.running_var.copy_(values.var(1))
