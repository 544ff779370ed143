"""Networks in int8 beside bf16: speed, decisions that change, and errors on labelled photos.

    python -m tests.bench.int8 LABELLED.lmdb PHOTOS.lmdb [--models ID,ID] [--count N]

Every layer multiplies 8-bit numbers: weights with a scale for each output, activations with one for each layer, from
the range of its inputs on the photos. Three ways to compute that are measured: OpenVINO, ONNX Runtime and torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.errors import SettingError, UsageError
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import WeightStore
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.nn.fuse import folded
from lowrank_demo.publish.onnx import onnx_program
from lowrank_demo.settings import Arithmetic, Settings
from lowrank_demo.train.batches import LmdbImages, evenly_spaced
from tests.bench import command
from tests.bench.material import CPU
from tests.bench.measure import interleaved

if TYPE_CHECKING:
    import openvino

_BATCH = 64
_QUANTILE = 0.9999
"""Share of a layer's inputs that is inside its range; the rest are clipped."""

Compute = Callable[[Tensor], Tensor]
"""Returns the logits, float32 [n, 1000], of normalised images, float32 [n, 3, 227, 227]."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.int8", description="Measure networks in int8 beside bf16."
    )
    parser.add_argument("labelled", type=Path, metavar="LABELLED.lmdb", help="file to count errors on")
    parser.add_argument("photos", type=Path, metavar="PHOTOS.lmdb", help="file to take the ranges of activations from")
    parser.add_argument("--models", default="bundled/scheme_2/v5,bundled/scheme_2/v1", metavar="ID,ID")
    parser.add_argument("--count", type=int, default=256, metavar="N", help="photos for the ranges; 256")
    return command.run(parser, _table, argv)


def _table(args: argparse.Namespace) -> int:
    for package in ("onnxruntime", "onnxscript", "openvino"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"The package {package} is not installed; run `pip install -e '.[onnx,openvino]'`.")
    if args.count < 1:
        raise UsageError(f"--count is {args.count}; expected at least 1.")
    store = WeightStore.from_settings(Settings.from_environment())
    cards = [store.zoo.get(name) for name in args.models.split(",")]
    given = evenly_spaced(args.photos, args.count)
    images, labels = _labelled(args.labelled)
    print("| network | engine | precision | photos/s | changed decisions | top-1 error |\n|---|---|---|---|---|---|")
    for card in cards:
        ways = dict(_ways(load_network(card, store.ensure(card)), given))
        some = images[:_BATCH]
        times = interleaved([partial(way, some) for way in ways.values()], repeats=9)
        answers = [torch.cat([way(part).argmax(1) for part in images.split(_BATCH)]) for way in ways.values()]
        for (name, seconds), answer in zip(zip(ways, times, strict=True), answers, strict=True):
            changed = (answer != answers[0]).float().mean().item()
            error = (answer != labels).float().mean().item()
            print(f"| {card.id} | {name} | {len(some) / seconds:.0f} | {changed:.2%} | {error:.2%} |", flush=True)
    return 0


def _labelled(file: Path) -> tuple[Tensor, Tensor]:
    images = LmdbImages(file, None, 0)
    pixels, labels, _ = zip(*(images[i] for i in range(len(images))), strict=True)
    # The layout that the app's decoders deliver.
    return torch.stack(pixels).to(memory_format=torch.channels_last), torch.tensor(labels)


def _ways(network: LowRankAlexNet, photos: Tensor) -> Iterator[tuple[str, Compute]]:
    """Yield the ways to compute a network, float32 first, each with its name."""
    for engine, precision in (("torch", "fp32"), ("torch", "bf16"), ("openvino", "bf16")):
        try:
            whole = Classifier(network, CPU, Arithmetic(engine, precision))
        except SettingError as error:
            print(f"{engine} in {precision} is left out: {error}", file=sys.stderr)
            continue
        yield f"{engine} | {precision}", whole.logits
    features, classifier = folded(network)
    layers = [*features, nn.Flatten(), *classifier]
    yield "openvino | int8", _openvino(layers, photos)
    yield "onnxruntime | int8", _onnx(layers, photos)
    yield "torch | int8", _torch(layers, photos)


@torch.inference_mode()
def _ranges(layers: Sequence[nn.Module], photos: Tensor) -> list[tuple[float, float]]:
    """Return the range of the inputs of each convolution and linear layer."""
    found: list[tuple[float, float]] = []
    values = photos
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            some = values.flatten()[
                torch.randint(values.numel(), (1_000_000,), generator=torch.Generator().manual_seed(0))
            ]
            low, high = torch.quantile(some, torch.tensor([1 - _QUANTILE, _QUANTILE])).tolist()
            found.append((min(low, 0.0), high))
        values = torch.cat([layer(part) for part in values.split(_BATCH)])
    return found


def _openvino(layers: Sequence[nn.Module], photos: Tensor) -> Compute:
    import openvino

    from lowrank_demo.nn.openvino import graph

    model, ranges = graph(layers), iter(_ranges(layers, photos))
    for node in model.get_ordered_ops():
        if node.get_type_name() not in ("Convolution", "MatMul"):
            continue
        low, high = next(ranges)
        if low < 0:  # signed: symmetric, as the processor multiplies it
            high = max(high, -low)
            low = -high * 128 / 127
        data, weight = node.input(0), node.input(1)
        data.replace_source_output(_rounded(data.get_source_output(), np.float32(low), np.float32(high), 256))
        constant = weight.get_source_output()
        values = constant.get_node().data
        largest = np.abs(values).max(tuple(range(1, values.ndim)), keepdims=True)
        weight.replace_source_output(_rounded(constant, -largest, largest, 255))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda images: torch.from_numpy(
        request.infer([images.permute(0, 2, 3, 1).contiguous().numpy()], share_inputs=True)[0].copy()
    )


def _rounded(values: openvino.Output, low: ArrayLike, high: ArrayLike, levels: int) -> openvino.Output:
    from openvino import opset13 as op

    low, high = (np.asarray(bound, np.float32) for bound in (low, high))
    return op.fake_quantize(values, low, high, low, high, levels).output(0)


def _onnx(layers: Sequence[nn.Module], photos: Tensor) -> Compute:
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Photos(CalibrationDataReader):
        def __init__(self) -> None:
            self._parts = iter(photos.split(_BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            part = next(self._parts, None)
            return None if part is None else {"images": part.numpy()}

    program = onnx_program(nn.Sequential(*layers).eval())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "int8.onnx"
        quantize_static(
            program.model_proto,
            made,
            Photos(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        session = onnxruntime.InferenceSession(made, options)
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _torch(layers: Sequence[nn.Module], photos: Tensor) -> Compute:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.quantized.engine = "onednn"
        prepared = prepare_fx(nn.Sequential(*layers).eval(), get_default_qconfig_mapping("onednn"), (photos[:2],))
        with torch.inference_mode():
            for part in photos.split(_BATCH):
                prepared(part)
        made = convert_fx(prepared)

    @torch.inference_mode()
    def compute(images: Tensor) -> Tensor:
        return made(images.contiguous(memory_format=torch.channels_last))

    return compute


if __name__ == "__main__":
    sys.exit(main())
