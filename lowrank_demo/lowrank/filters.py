"""The filters of the first layer: its two factors and their product, as arrays to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..nn.alexnet import LowRankAlexNet, LowRankLayer
from .c_step import Decomposition, lost_energy
from .refactor import dense_weight


@dataclass(frozen=True)
class FiltersAtRank:
    """The first layer cut to a rank."""

    rank: int
    filters: np.ndarray
    """[96, 3, 11, 11]: the effective filters."""
    maps: np.ndarray
    """[96, 56, 56]: what they find in the photo, after ReLU; without bias."""
    energy: float
    """Share of the energy of the layer's weights that is kept."""
    numbers: int
    """Weights that are stored."""


@dataclass(frozen=True)
class Filters:
    """The weights of conv1, float32. Input channels are red, green, blue."""

    product: np.ndarray
    """[96, 3, 11, 11]: the effective filters, what ``U`` after ``V`` computes."""
    v: np.ndarray
    """[r, 3, 11, 11] in scheme 1, [r, 3, 1, 11] in scheme 2."""
    u: np.ndarray
    """[96, r, 1, 1] in scheme 1, [96, r, 11, 1] in scheme 2."""

    scheme: str

    @torch.no_grad()
    def at_each_rank(self, pixels: Tensor) -> list[FiltersAtRank]:
        """Return the layer cut to each rank from 1 to its own.

        Args:
            pixels: A normalised photo, float32 [3, 227, 227].
        """
        whole = Decomposition.of(torch.from_numpy(self.product), self.scheme)
        lost = lost_energy(whole.s)
        each = self.v[0].size + self.u[:, 0].size
        made: list[FiltersAtRank] = []
        for rank in range(1, self.v.shape[0] + 1):
            weight = whole.truncated(rank)
            maps = F.conv2d(pixels[None], weight, None, 4, 2)[0].relu()
            made.append(FiltersAtRank(rank, weight.numpy(), maps.numpy(), 1 - float(lost[rank]), rank * each))
        return made

    @classmethod
    @torch.no_grad()
    def of(cls, network: LowRankAlexNet) -> Filters:
        """Return the filters of a network with its weights loaded."""
        pair = network.get_submodule(network.layers[0].key)
        assert isinstance(pair, LowRankLayer)
        v, u = pair.V.weight, pair.U.weight
        return cls(dense_weight(pair).numpy(), v.numpy().copy(), u.numpy().copy(), network.scheme)
