"""The filters of the first layer: its two factors and their product, as arrays to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from .refactor import dense_weight


@dataclass(frozen=True)
class Filters:
    """The weights of conv1, float32. Input channels are red, green, blue."""

    product: np.ndarray
    """[96, 3, 11, 11]: the effective filters, what ``U`` after ``V`` computes."""
    v: np.ndarray
    """[r, 3, 11, 11] in scheme 1, [r, 3, 1, 11] in scheme 2."""
    u: np.ndarray
    """[96, r, 1, 1] in scheme 1, [96, r, 11, 1] in scheme 2."""

    @classmethod
    @torch.no_grad()
    def of(cls, network: LowRankAlexNet) -> Filters:
        """Return the filters of a network with its weights loaded."""
        pair = network.get_submodule(network.layers[0].key)
        assert isinstance(pair, LowRankLayer)
        return cls(dense_weight(pair).numpy(), pair.V.weight.numpy().copy(), pair.U.weight.numpy().copy())
