"""Networks computed by OpenVINO, which is two to three times as fast as torch on a CPU."""

from __future__ import annotations

import numpy as np
import openvino
import torch
from torch import Tensor, nn


class ByOpenVino(nn.Module):
    """Computes a network's outputs for normalised images, float32 [n, 3, 227, 227]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        shape, example = openvino.PartialShape([-1, 3, 227, 227]), torch.zeros(1, 3, 227, 227)
        model = openvino.convert_model(network.eval(), example_input=example, input=[shape])
        self._request = openvino.Core().compile_model(model, "CPU").create_infer_request()

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs, float32."""
        outputs = self._request.infer(np.ascontiguousarray(images.numpy()))
        return torch.from_numpy(next(iter(outputs.values())).copy())
