"""A network made ready for inference: batch normalisation folded into ``U``, channels last, optional pre-shrink."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..models.architecture import INPUT_SIZE
from .alexnet import LowRankAlexNet, LowRankLayer

RESIZED_EDGE = 256
_PART = 16
"""Measured: of 8, 16 and 64 images at a time, 16 is the fastest through two pooling layers."""


class Shrink(nn.Module):
    """Takes the fine detail out of a photo: down to a shortest edge of ``edge`` and back up.

    Some weights were trained on small photos, and sharp detail misleads them. Working on the crop keeps one input
    pipeline for every model; ``edge`` is given at the scale of the whole photo (shortest edge 256), as on the card.
    """

    def __init__(self, edge: int) -> None:
        super().__init__()
        self.size = round(INPUT_SIZE * edge / RESIZED_EDGE)

    def forward(self, images: Tensor) -> Tensor:
        """Float [n, 3, 227, 227] to the same shape."""
        small = F.interpolate(images, size=self.size, mode="bilinear", antialias=True)
        return F.interpolate(small, size=images.shape[-2:], mode="bilinear")


class InParts(nn.Module):
    """Takes a batch through the first layers a few images at a time, on the processor.

    Their outputs are the largest of the network; those of a few images stay in the processor's cache.
    """

    def __init__(self, first: list[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Sequential(*first)

    def forward(self, images: Tensor) -> Tensor:
        """As the layers would, on the whole batch."""
        if images.is_cuda or len(images) <= _PART:
            return self.first(images)
        return torch.cat([self.first(part) for part in images.split(_PART)])


class Cast(nn.Module):
    """Brings values to the precision of the weights that follow."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """The same values, rounded where that is coarser."""
        return images.to(self.dtype)


def inference_form(
    network: LowRankAlexNet, pre_shrink: int | None = None, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """An equivalent of ``network.eval()`` that runs faster; the network given is left as it is.

    Args:
        network: A network with its weights loaded.
        pre_shrink: The card's ``pre_shrink``, applied to the images first.
        dtype: Of weights and activations: float32, or bfloat16 on hardware that multiplies it faster; conv1 and the
            last product stay in float32.
    """
    stages: list[nn.Module] = [Shrink(pre_shrink)] if pre_shrink else []
    features, classifier = folded(network)
    if dtype != torch.float32:
        # Rounding in conv1 would go through all other layers, and rounded logits would tie.
        features = [*features[:2], Cast(dtype), *(module.to(dtype) for module in features[2:])]
        classifier = [*(module.to(dtype) for module in classifier[:-1]), Cast(torch.float32), classifier[-1]]
    pools = [place for place, module in enumerate(features) if isinstance(module, nn.MaxPool2d)]
    early = pools[1] + 1
    stages += [InParts(features[:early]), *features[early:], nn.Flatten(), *classifier]
    fused = nn.Sequential(*stages).eval().requires_grad_(False)
    return fused.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def folded(network: LowRankAlexNet) -> tuple[list[nn.Module], list[nn.Module]]:
    """Copies of the layers before and after flattening, each batch normalisation merged into the ``U`` before it."""
    source = copy.deepcopy(network).eval()
    return _fold(source.features), _fold(source.classifier)


def _fold(modules: nn.Sequential) -> list[nn.Module]:
    """The modules with each batch normalisation merged into the ``U`` before it; dropout does nothing here."""
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
            # The two commute exactly, and four times fewer values are left to rectify.
            folded.insert(-1, module)
        elif not isinstance(module, nn.Dropout):
            folded.append(module)
    return folded
