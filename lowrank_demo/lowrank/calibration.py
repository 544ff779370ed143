"""Lower the ranks of a network by what its layers compute from real images, not by their weights alone.

The nearest matrix of rank r to a weight M keeps M's largest singular values, for any inputs. But only the outputs M·x
for the inputs x that occur need to stay near: the best matrix for those is M projected onto the r principal directions
of its outputs (the linear case of Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and
Detection", TPAMI 2016). Each layer gets the inputs that the truncated layers before it compute. The U of a convolution
is then fitted, by least squares, to what the original layer computes in the original network, which compensates for
part of the loss in the layers before it (the asymmetric reconstruction of the same paper). The statistics of every
batch normalisation are measured anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from ..nn.nested import NestedAlexNet, set_dropout
from .c_step import to_matrix
from .refactor import dense_weight, refactored

_PART = 16
"""Images at a time: the first outputs of scheme 2 are large."""
_BATCH = 128
"""Images at a time whose statistics are averaged."""


@torch.no_grad()
def calibrated(
    network: LowRankAlexNet,
    scheme: str,
    ranks: Sequence[int],
    images: Tensor,
    basis: LowRankAlexNet | None = None,
) -> LowRankAlexNet:
    """Return a network of this scheme and these ranks whose outputs for the images are near those of the given one.

    Args:
        network: Left unchanged.
        scheme: Scheme of the new network.
        ranks: Ranks of the new network; layers whose rank grows are as in :func:`~.refactor.refactored`.
        images: Normalised float32 [n, 3, 227, 227], like those that the network will be used on.
        basis: A network of this scheme, of these or higher ranks. The convolutions take the first components of its
            ``V`` instead of components of their own, so that both networks can share ``V``.
    """
    made = refactored(network, scheme, ranks).eval()
    training = network.training
    network.eval()
    parts, wanted = list(images.split(_PART)), list(images.split(_PART))
    flatten = nn.Flatten()
    stacks = [(*one.features, flatten, *one.classifier) for one in (made, network, basis or made)]
    for module, given, shared in zip(*stacks, strict=True):
        wanted = [given(part) for part in wanted]
        if isinstance(module, LowRankLayer):
            assert isinstance(given, LowRankLayer)
            assert isinstance(shared, LowRankLayer)
            convolution = isinstance(module.V, nn.Conv2d)
            rank = len(module.V.weight)
            changed = scheme != network.scheme and convolution
            if changed or rank < len(given.V.weight):
                if basis is not None and convolution:
                    module.V.weight.copy_(shared.V.weight[:rank])
                else:
                    _project(module, to_matrix(dense_weight(given), scheme), parts)
                # A linear layer has one input for each image: too few for a fit.
                if convolution:
                    _fit(module, parts, wanted)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            _measure(module, parts)
        parts = [module(part) for part in parts]
    network.train(training)
    return made


@torch.no_grad()
def measure_statistics(network: LowRankAlexNet, images: Tensor) -> None:
    """Set the statistics of every batch normalisation to those of the images, in place.

    Args:
        network: Its dropout is switched off; it is left in evaluation mode.
        images: Normalised float32 [n, 3, 227, 227].
    """
    set_dropout(network, 0.0)
    update_bn(mixed_batches(images, _BATCH), network.train())
    network.eval()


def mixed_batches(inputs: Tensor, most: int) -> Sequence[Tensor]:
    """Return all inputs in batches whose statistics can be averaged.

    Inputs in the order of a file come source by source: the variance within batches of one source lacks the differences
    between sources. Batches of unequal size would be averaged as equals.

    Args:
        inputs: Float [n, …].
        most: Largest size of a batch.
    """
    mixed = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))]
    return mixed.tensor_split(math.ceil(len(inputs) / most))


def measure_each(nested: NestedAlexNet, images: Tensor) -> None:
    """Set the statistics of every version's batch normalisation to those of the images, in place.

    Args:
        nested: The versions.
        images: Normalised float32 [n, 3, 227, 227].
    """
    for version in nested.versions:
        network = nested.network_of(version)
        measure_statistics(network, images)
        nested.set_buffers(version, network)


def _project(pair: LowRankLayer, matrix: Tensor, parts: Sequence[Tensor]) -> None:
    """Set ``V`` and ``U`` to the matrix projected onto the principal directions of its outputs."""
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
    # The mean may be lost: the batch normalisation after the layer subtracts it.
    _, vectors = torch.linalg.eigh(moment / count - torch.outer(mean, mean))
    left = vectors.flip(1)[:, :rank].to(matrix.dtype)
    right = left.T @ matrix
    balance = right.norm(dim=1).clamp(min=1e-12).sqrt()
    right, left = right / balance[:, None], left * balance
    v.weight.copy_(right.reshape(v.weight.shape))
    if isinstance(u, nn.Conv2d):
        # The rows of scheme 2 are (output, vertical position).
        left = left.reshape(u.weight.shape[0], -1, rank).transpose(1, 2)
    u.weight.copy_(left.reshape(u.weight.shape))


def _fit(pair: LowRankLayer, parts: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    """Set ``U`` and its bias to the least-squares fit of the layer's outputs to the wanted ones."""
    v, u = pair.V, pair.U
    assert isinstance(v, nn.Conv2d)
    assert isinstance(u, nn.Conv2d)
    assert u.bias is not None
    assert not isinstance(u.padding, str)
    gram = moment = torch.zeros(())
    for part, outputs in zip(parts, wanted, strict=True):
        # Float [n, features, positions]: the outputs of V that each output position uses, and a one for the bias.
        seen = F.unfold(v(part), (u.kernel_size[0], u.kernel_size[1]), padding=u.padding, stride=u.stride)
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], 1).transpose(0, 1).flatten(1)
        gram = gram + (seen @ seen.T).double()
        moment = moment + (seen @ outputs.flatten(2).transpose(0, 1).flatten(1).T).double()
    # Small enough to decide only between equally good fits.
    ridge = 1e-8 * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    fitted = torch.linalg.solve(gram + ridge, moment).T.to(u.weight.dtype)
    u.weight.copy_(fitted[:, :-1].reshape(u.weight.shape))
    u.bias.copy_(fitted[:, -1])


def _measure(normalisation: nn.BatchNorm1d | nn.BatchNorm2d, parts: Sequence[Tensor]) -> None:
    """Set mean and variance to those of all parts together."""
    values = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], 1).double()
    assert normalisation.running_mean is not None
    assert normalisation.running_var is not None
    normalisation.running_mean.copy_(values.mean(1))
    normalisation.running_var.copy_(values.var(1))
