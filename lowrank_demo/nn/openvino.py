"""The inference form computed by OpenVINO: the faster engine on a CPU, especially in bf16."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import openvino
import torch
from openvino import opset13 as op
from torch import Tensor, nn

from ..errors import SettingError
from ..models.architecture import INPUT_SIZE
from .alexnet import LowRankAlexNet
from .fuse import folded

_PART = 64
"""Images at a time: as fast as fewer, and memory does not grow with the batch."""
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


def check_precision(precision: str) -> None:
    """Check that OpenVINO computes in this precision here. Asked for bf16 on other CPUs it computes in fp32, silently.

    Raises:
        SettingError: It does not.
    """
    if precision == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise SettingError(
            "LOWRANK_PRECISION is bf16, which this CPU does not multiply, so OpenVINO would compute in fp32; set "
            "LOWRANK_PRECISION to fp32."
        )


class OpenVinoNetwork(nn.Module):
    """Layers compiled for this CPU.

    Args:
        layers: Convolutions, linear layers, max pooling, ReLU and flattening, in order; their weights are copied.
        precision: ``fp32``, or ``bf16`` for weights and activations; sums stay in float32.

    Raises:
        SettingError: This CPU has no bf16.
    """

    def __init__(self, layers: Iterable[nn.Module], precision: str) -> None:
        super().__init__()
        check_precision(precision)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Pinning would put all processes of a machine on its first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._request = openvino.Core().compile_model(graph(layers), "CPU", settings).create_infer_request()
        self._lock = threading.Lock()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, float32 [n, classes], of float32 [n, 3, 227, 227]; channels last avoids a copy."""
        pixels = images.permute(0, 2, 3, 1).contiguous()
        with self._lock:
            answers = [self._request.infer([part.numpy()], share_inputs=True)[0] for part in pixels.split(_PART)]
        return torch.cat([torch.from_numpy(answer) for answer in answers])


def openvino_form(network: LowRankAlexNet, precision: str) -> nn.Module:
    """Return an equivalent of ``network.eval()`` that OpenVINO computes, on the CPU only.

    Args:
        network: A network with its weights loaded; it is left unchanged.
        precision: ``fp32`` or ``bf16``, as for :class:`OpenVinoNetwork`.
    """
    features, classifier = folded(network)
    return OpenVinoNetwork([*features, nn.Flatten(), *classifier], precision)


# Why not openvino.convert_model: logits and speed are the same, but it starts slower. Importing torch and OpenVINO,
# converting and compiling takes 6.5 to 7.6 s of CPU time; with this graph it takes 3.0 to 3.3 s, of which 0.13 to
# 0.27 s build and compile (ranks of scheme 1 v1 and scheme 2 v5, cold processes, OpenVINO 2026.4.1, torch 2.13).
def graph(layers: Iterable[nn.Module]) -> openvino.Model:
    """Return the layers as an OpenVINO model, whose input is float32 [n, 227, 227, 3]."""
    images = op.parameter([-1, INPUT_SIZE, INPUT_SIZE, 3], openvino.Type.f32)
    value = op.transpose(images, op.constant([0, 3, 1, 2])).output(0)
    for layer in layers:
        value = _after(layer, value)
    # OpenVINO's stubs have two classes of this name.
    return openvino.Model([value], [images])  # pyright: ignore[reportGeneralTypeIssues]


def _after(layer: nn.Module, value: openvino.Output) -> openvino.Output:
    """Return the output of the layer for this input."""
    if isinstance(layer, nn.Conv2d):
        pads = list(layer.padding)
        product = op.convolution(value, _constant(layer.weight), list(layer.stride), pads, pads, list(layer.dilation))
        return _biased(product.output(0), layer.bias, (1, -1, 1, 1))
    if isinstance(layer, nn.Linear):
        product = op.matmul(value, _constant(layer.weight), transpose_a=False, transpose_b=True)
        return _biased(product.output(0), layer.bias, (1, -1))
    if isinstance(layer, nn.MaxPool2d):
        kernel, stride, padding, dilation = (
            _pair(v) for v in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        )
        rounding = "ceil" if layer.ceil_mode else "floor"
        return op.max_pool(value, stride, dilation, padding, padding, kernel, rounding).output(0)
    if isinstance(layer, nn.ReLU):
        return op.relu(value).output(0)
    if isinstance(layer, nn.Flatten):
        return op.reshape(value, op.constant([0, -1]), special_zero=True).output(0)
    raise TypeError(f"a low-rank AlexNet has no {type(layer).__name__}")


def _biased(value: openvino.Output, bias: Tensor | None, shape: tuple[int, ...]) -> openvino.Output:
    return value if bias is None else op.add(value, _constant(bias.view(shape))).output(0)


def _constant(tensor: Tensor) -> openvino.Node:
    return op.constant(tensor.detach().contiguous().numpy())


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
