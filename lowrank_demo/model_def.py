"""The original release's module of this name, for code that was written for it.

``from lowrank_demo.model_def import low_rank_alexnet`` takes the arguments of the original and returns what it did: a
network in training mode, pretrained or not, with the loss as its attribute. New code should use
:func:`lowrank_demo.low_rank_alexnet`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from . import low_rank_alexnet as _low_rank_alexnet


def low_rank_alexnet(scheme: str, tag: str, pretrained: bool = False) -> nn.Module:
    """Build a low-rank AlexNet of the original release.

    Args:
        scheme: ``scheme_1`` or ``scheme_2``.
        tag: ``v1`` to ``v4``, in scheme 2 also ``v5``.
        pretrained: Load the published weights, downloading them if necessary.

    Returns:
        The network in training mode. Call its ``.eval`` before you classify. ``network.loss(logits, target)`` is the
        mean cross entropy of logits, float [n, 1000], and labels, int64 [n].

    Raises:
        lowrank_demo.errors.UnknownModel: The model does not exist.
        lowrank_demo.errors.WeightsError: The weights cannot be downloaded, or are not the published ones.
    """
    network = _low_rank_alexnet(scheme, tag, pretrained).train()
    network.loss = _loss  # pyright: ignore[reportArgumentType]  (a function is an attribute as it is)
    return network


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target)
