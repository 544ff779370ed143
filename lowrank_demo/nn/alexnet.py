"""The low-rank AlexNet, with the state_dict of the original release.

Keys such as ``features.0.V.weight``, ``features.0.U.weight``, ``features.0.U.bias`` and ``features.1.running_mean``;
all tensors float32, batch-norm counters int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from ..architecture import LAYERS, Factor, Layer, factors


def _module(factor: Factor) -> nn.Module:
    if factor.kind == "linear":
        return nn.Linear(factor.inputs, factor.outputs, bias=factor.bias)
    return nn.Conv2d(
        factor.inputs, factor.outputs, factor.kernel, stride=factor.stride, padding=factor.padding, bias=factor.bias
    )


class LowRankLayer(nn.Sequential):
    """A convolution or linear layer as the product of two: ``V`` (first, no bias), then ``U`` (with bias)."""

    V: nn.Conv2d | nn.Linear
    U: nn.Conv2d | nn.Linear

    def __init__(self, layer: Layer, scheme: str, rank: int) -> None:
        super().__init__()
        v, u = factors(layer, scheme, rank)
        self.add_module("V", _module(v))
        self.add_module("U", _module(u))


class LowRankAlexNet(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="pytorch",
    pipeline_tag="image-classification",
    tags=["low-rank", "model-compression", "alexnet"],
):
    """AlexNet with batch normalisation, every layer factored.

    ``save_pretrained``, ``push_to_hub`` and ``from_pretrained`` are those of huggingface-hub; a file that lacks a key
    is refused.

    Args:
        scheme: ``scheme_1`` or ``scheme_2``.
        ranks: Rank of each of the eight layers, conv1 to fc8.
    """

    def __init__(self, scheme: str, ranks: Sequence[int]) -> None:
        super().__init__()
        self.scheme = scheme
        self.ranks = tuple(ranks)
        features: list[nn.Module] = []
        classifier: list[nn.Module] = []
        for layer, rank in zip(LAYERS, self.ranks, strict=True):
            low_rank = LowRankLayer(layer, scheme, rank)
            if layer.kind == "conv":
                features += [low_rank, nn.BatchNorm2d(layer.outputs), nn.ReLU(inplace=True)]
                if layer.pool_after:
                    features.append(nn.MaxPool2d(3, 2))
            elif layer is LAYERS[-1]:
                classifier.append(low_rank)
            else:
                classifier += [low_rank, nn.BatchNorm1d(layer.outputs), nn.ReLU(inplace=True), nn.Dropout()]
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(*classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float [n, 1000], of normalised images, float [n, 3, 227, 227]."""
        return self.classifier(torch.flatten(self.features(images), 1))

    @classmethod
    def _from_pretrained(cls, **options: Any) -> LowRankAlexNet:
        # The default leaves random weights where a key is missing.
        return super()._from_pretrained(**{**options, "strict": True})
