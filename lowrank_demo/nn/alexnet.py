"""AlexNet with batch normalisation, dense and low-rank, with the state_dict keys of the original release.

The keys are ``features.0.V.weight``, ``features.0.U.weight``, ``features.0.U.bias``, ``features.1.running_mean`` and so
on (``features.0.weight`` in the dense network). All tensors are float32, batch-norm counters int64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from ..models.architecture import LAYERS, Factor, Layer, factors


class LowRankLayer(nn.Sequential):
    """A convolution or linear layer factored into two: ``V`` (no bias), then ``U`` (with bias)."""

    V: nn.Conv2d | nn.Linear
    U: nn.Conv2d | nn.Linear

    def __init__(self, layer: Layer, scheme: str, rank: int) -> None:
        super().__init__()
        v, u = factors(layer, scheme, rank)
        self.add_module("V", _factor_module(v))
        self.add_module("U", _factor_module(u))


class LowRankAlexNet(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="pytorch",
    pipeline_tag="image-classification",
    tags=["low-rank", "model-compression", "alexnet"],
):
    """AlexNet with every layer factored.

    ``save_pretrained``, ``push_to_hub`` and ``from_pretrained`` come from huggingface-hub. ``from_pretrained`` refuses
    a file that lacks a key.

    Args:
        scheme: ``scheme_1`` or ``scheme_2``.
        ranks: Rank of each layer, conv1 to fc8.
        layers: The dense layers that are factored.
    """

    def __init__(self, scheme: str, ranks: Sequence[int], layers: Sequence[Layer] = LAYERS) -> None:
        super().__init__()
        self.scheme = scheme
        self.ranks = tuple(ranks)
        self.layers = tuple(layers)
        rank_of = dict(zip(self.layers, self.ranks, strict=True))
        self.features, self.classifier = _stacks(layers, lambda layer: LowRankLayer(layer, scheme, rank_of[layer]))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float [n, classes], of normalised images, float [n, 3, 227, 227]."""
        return self.classifier(torch.flatten(self.features(images), 1))

    @classmethod
    def _from_pretrained(cls, **options: Any) -> LowRankAlexNet:
        # The default leaves random weights where a key is missing.
        return super()._from_pretrained(**{**options, "strict": True})


class DenseAlexNet(nn.Module):
    """The dense network that compression starts from: no groups, 227 x 227 input.

    Args:
        layers: Its layers, conv1 to fc8.
    """

    def __init__(self, layers: Sequence[Layer] = LAYERS) -> None:
        super().__init__()
        self.features, self.classifier = _stacks(layers, _dense_module)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float [n, classes], of normalised images, float [n, 3, 227, 227]."""
        return self.classifier(torch.flatten(self.features(images), 1))


def _stacks(layers: Sequence[Layer], make: Callable[[Layer], nn.Module]) -> tuple[nn.Sequential, nn.Sequential]:
    """Build ``features`` and ``classifier``, calling ``make`` for each layer in order."""
    features: list[nn.Module] = []
    classifier: list[nn.Module] = []
    for layer in layers:
        if layer.kind == "conv":
            features += [make(layer), nn.BatchNorm2d(layer.outputs), nn.ReLU(inplace=True)]
            if layer.pool_after:
                features.append(nn.MaxPool2d(3, 2))
        elif layer is layers[-1]:
            classifier.append(make(layer))
        else:
            classifier += [make(layer), nn.BatchNorm1d(layer.outputs), nn.ReLU(inplace=True), nn.Dropout()]
    return nn.Sequential(*features), nn.Sequential(*classifier)


def _dense_module(layer: Layer) -> nn.Module:
    if layer.kind == "linear":
        return nn.Linear(layer.inputs, layer.outputs)
    return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding)


def _factor_module(factor: Factor) -> nn.Module:
    if factor.kind == "linear":
        return nn.Linear(factor.inputs, factor.outputs, bias=factor.bias)
    return nn.Conv2d(
        factor.inputs, factor.outputs, factor.kernel, stride=factor.stride, padding=factor.padding, bias=factor.bias
    )
