"""The dense AlexNet that compression starts from: the low-rank network before its layers are factored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..architecture import LAYERS


class DenseAlexNet(nn.Module):
    """AlexNet with batch normalisation, no groups, 227 x 227 input.

    Factoring every convolution and linear layer by :func:`~lowrank_demo.nn.rank_selection.factorised` gives the
    state_dict of :class:`~lowrank_demo.nn.alexnet.LowRankAlexNet`.

    Args:
        num_classes: Outputs.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        features: list[nn.Module] = []
        classifier: list[nn.Module] = []
        for layer in LAYERS:
            if layer.kind == "conv":
                conv = nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding)
                features += [conv, nn.BatchNorm2d(layer.outputs), nn.ReLU(inplace=True)]
                if layer.pool_after:
                    features.append(nn.MaxPool2d(3, 2))
            elif layer is LAYERS[-1]:
                classifier.append(nn.Linear(layer.inputs, num_classes))
            else:
                linear = nn.Linear(layer.inputs, layer.outputs)
                classifier += [linear, nn.BatchNorm1d(layer.outputs), nn.ReLU(inplace=True), nn.Dropout()]
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(*classifier)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float [n, num_classes], of normalised images, float [n, 3, 227, 227]."""
        return self.classifier(torch.flatten(self.features(images), 1))
