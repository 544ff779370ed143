"""One layer as two factors that compute the same, or nearly the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from .c_step import Decomposition

_NEUTRAL = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
"""The geometry of a convolution along a dimension that it leaves as it is."""


class Factored(nn.Sequential):
    """A layer as two: ``V`` (no bias), then ``U`` (with the layer's bias).

    ``weight`` and ``bias`` are those of the one layer that computes the same. They are for code that reads a layer
    instead of calling it, as ``nn.TransformerEncoderLayer`` does in evaluation mode.
    """

    V: nn.Conv2d | nn.Linear
    U: nn.Conv2d | nn.Linear

    def __init__(self, v: nn.Conv2d | nn.Linear, u: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.add_module("V", v)
        self.add_module("U", u)
        if isinstance(v, nn.Linear) and isinstance(u, nn.Linear):
            self.in_features, self.out_features = v.in_features, u.out_features
        elif isinstance(v, nn.Conv2d) and isinstance(u, nn.Conv2d):
            self.in_channels, self.out_channels = v.in_channels, u.out_channels

    @property
    def weight(self) -> Tensor:
        """The product of both weights, in the shape of the dense layer's."""
        return product(self.V.weight, self.U.weight)

    @property
    def bias(self) -> Tensor | None:
        """The bias of ``U``."""
        return self.U.bias


def product(v: Tensor, u: Tensor) -> Tensor:
    """Return the weight of the one layer that computes what ``V`` and then ``U`` compute.

    Args:
        v: Weight of ``V``: [r, m], [r, m, k1, k2] (scheme 1) or [r, m, 1, k2] (scheme 2).
        u: Weight of ``U``: [n, r], [n, r, 1, 1] or [n, r, k1, 1].

    Returns:
        [n, m] or [n, m, k1, k2].
    """
    if v.dim() == 2:
        return u @ v
    weight = torch.einsum("nrab,rmcd->nmacbd", u, v)
    n, m, a, c, b, d = weight.shape
    return weight.reshape(n, m, a * c, b * d)


def product_energy(v: Tensor, u: Tensor) -> Tensor:
    """Return ‖UV‖², the squared norm of :func:`product`, a differentiable scalar.

    The product itself is not computed: ‖UV‖² is the sum of all entries of UᵀU times those of VVᵀ, both [r, r].
    """
    rows, columns = u.transpose(0, 1).flatten(1), v.flatten(1)
    return ((rows @ rows.T) * (columns @ columns.T)).sum()


def factored(module: nn.Conv2d | nn.Linear, v_weight: Tensor, u_weight: Tensor, scheme: str) -> Factored:
    """Return two layers with these weights in place of one, with its stride, padding, dilation, bias, dtype and device.

    Args:
        module: The dense layer.
        v_weight: Weight of ``V``, from :meth:`Decomposition.factors`.
        u_weight: Weight of ``U``.
        scheme: ``scheme_1`` or ``scheme_2``.
    """
    rank, has_bias = len(v_weight), module.bias is not None
    make: Any = skip_init  # its result is typed as any module
    options: dict[str, Any] = {"device": module.weight.device, "dtype": module.weight.dtype}
    if isinstance(module, nn.Linear):
        v = make(nn.Linear, module.in_features, rank, bias=False, **options)
        u = make(nn.Linear, rank, module.out_features, bias=has_bias, **options)
    else:
        # Scheme 2 leaves the vertical dimension to U. Vertical padding adds whole rows: zeros, or repeated or mirrored
        # ones. V works within a row, so it may come before the padding; it has no bias, so rows of zeros stay zero.
        height = scheme == "scheme_2"
        across, down = _geometry(module, (not height, True)), _geometry(module, (height, False))
        options["padding_mode"] = module.padding_mode
        v = make(nn.Conv2d, module.in_channels, rank, bias=False, **across, **options)
        u = make(nn.Conv2d, rank, module.out_channels, bias=has_bias, **down, **options)
    pair = Factored(v, u).train(module.training)
    with torch.no_grad():
        v.weight.copy_(v_weight)
        u.weight.copy_(u_weight)
        if module.bias is not None:
            u.bias.copy_(module.bias)
            u.bias.requires_grad_(module.bias.requires_grad)
    return pair


def factorised(module: nn.Conv2d | nn.Linear, scheme: str, rank: int) -> Factored:
    """Return the layer as two, whose product is the nearest weight of this rank."""
    return factored(module, *Decomposition.of(module.weight, scheme).factors(rank), scheme)


def _geometry(module: nn.Conv2d, mine: tuple[bool, bool]) -> dict[str, Any]:
    """Return the geometry of a factor: the convolution's along the factor's own dimensions (vertical, horizontal)."""
    found: dict[str, Any] = {}
    for name, neutral in _NEUTRAL.items():
        value = getattr(module, name)
        if not isinstance(value, str):  # "same" and "valid" padding are right along both dimensions
            value = tuple(one if own else neutral for one, own in zip(value, mine, strict=True))
        found[name] = value
    return found
