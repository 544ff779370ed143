"""Prepare a network for inference: batch normalisation folded into ``U``, channels last."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from .alexnet import LowRankAlexNet, LowRankLayer

_PART = 16
"""Images at a time: of 8, 16 and 64, 16 was measured to be the fastest through the first two pooling layers."""


class InParts(nn.Module):
    """Runs a batch through the first layers a few images at a time, on the CPU.

    The outputs of these layers are the largest of the network; those of a few images fit into the processor's cache.
    """

    def __init__(self, first: list[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Sequential(*first)

    def forward(self, images: Tensor) -> Tensor:
        """Return what the layers compute for the whole batch."""
        if images.is_cuda or len(images) <= _PART:
            return self.first(images)
        return torch.cat([self.first(part) for part in images.split(_PART)])


class Cast(nn.Module):
    """Converts values to the dtype of the weights that follow."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """Return the values in that dtype."""
        return images.to(self.dtype)


def inference_form(network: LowRankAlexNet, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a faster equivalent of ``network.eval()``; the given network is left unchanged.

    Args:
        network: A network with its weights loaded.
        dtype: Dtype of weights and activations: float32, or bfloat16 on hardware that multiplies it faster. conv1 and
            the last product stay in float32.
    """
    features, classifier = folded(network)
    if dtype != torch.float32:
        # Rounding errors of conv1 would pass through all other layers, and rounding could make logits equal.
        features = [*features[:2], Cast(dtype), *(module.to(dtype) for module in features[2:])]
        classifier = [*(module.to(dtype) for module in classifier[:-1]), Cast(torch.float32), classifier[-1]]
    pools = [place for place, module in enumerate(features) if isinstance(module, nn.MaxPool2d)]
    early = pools[1] + 1
    stages = (InParts(features[:early]), *features[early:], nn.Flatten(), *classifier)
    fused = nn.Sequential(*stages).eval().requires_grad_(False)
    return fused.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def folded(network: LowRankAlexNet) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return copies of the layers before and after flattening, batch normalisation merged into the ``U`` before it."""
    source = copy.deepcopy(network).eval()
    return _fold(source.features), _fold(source.classifier)


def _fold(modules: nn.Sequential) -> list[nn.Module]:
    """Return the modules, each batch normalisation merged into the ``U`` before it, without dropout."""
    folded: list[nn.Module] = []
    for module in modules:
        if isinstance(module, LowRankLayer):
            folded += [module.V, module.U]
        elif isinstance(module, nn.BatchNorm2d):
            conv = folded.pop()
            assert isinstance(conv, nn.Conv2d)
            folded.append(fuse_conv_bn_eval(conv, module))
        elif isinstance(module, nn.BatchNorm1d):
            linear = folded.pop()
            assert isinstance(linear, nn.Linear)
            folded.append(fuse_linear_bn_eval(linear, module))
        elif isinstance(module, nn.MaxPool2d) and isinstance(folded[-1], nn.ReLU):
            # The two commute exactly, and ReLU then has four times fewer values to process.
            folded.insert(-1, module)
        elif not isinstance(module, nn.Dropout):
            folded.append(module)
    return folded
