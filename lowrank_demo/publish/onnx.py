"""Export a model to an ONNX file, and check that ONNX Runtime computes the same from it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import DataError, NotWritten, UsageError
from ..models.architecture import INPUT_SIZE
from ..models.cards import ModelCard
from ..nn.alexnet import LowRankAlexNet
from ..runtime.files import atomic_write

_TOLERANCE = 1e-4
"""Largest difference between logits that is accepted, as a share of the largest logit."""
_INPUT = "RGB, shortest edge 256, centre crop 227, minus (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225); NCHW"


def export_onnx(card: ModelCard, network: LowRankAlexNet, target: Path) -> float:
    """Write an ONNX file that maps ``images``, float32 [n, 3, 227, 227], to ``logits``, float32 [n, 1000].

    The file is kept only if ONNX Runtime computes the same logits from it as torch.

    Args:
        card: The model; its id, ranks and licence go into the file's metadata.
        network: The model's network with its weights.
        target: The file to write.

    Returns:
        The largest difference between the logits of torch and ONNX Runtime for random images, as a share of the
        largest logit.

    Raises:
        UsageError: The packages that the export needs are not installed.
        DataError: ONNX Runtime computes other logits.
        NotWritten: The file cannot be written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (required by torch's exporter)
    except ImportError as error:
        raise UsageError(
            f"ONNX export needs the package {error.name}, which is not installed; run `pip install onnxscript "
            "onnxruntime`."
        ) from error
    program = onnx_program(network.eval())
    program.model.metadata_props.update(
        {"model": card.id, "ranks": " ".join(map(str, card.ranks)), "input": _INPUT, "licence": card.licence}
    )
    try:
        with atomic_write(target) as temporary:
            program.save(temporary)
            difference = _largest_difference(network, onnxruntime.InferenceSession(temporary))
            if not difference <= _TOLERANCE:
                raise DataError(
                    f"The ONNX file's logits differ from torch's by {difference:.1e} of the largest logit; expected at "
                    f"most {_TOLERANCE:.0e}, so it was not kept. Try another version of onnxscript."
                )
    except OSError as error:
        raise NotWritten(
            f"{target} cannot be written ({error.strerror}); free space or choose another place."
        ) from error
    return difference


def onnx_program(network: nn.Module) -> torch.onnx.ONNXProgram:
    """Return a network in evaluation mode as an ONNX program: ``images``, any number of them, to ``logits``."""
    with _silent_exporter():
        program = torch.onnx.export(
            network,
            (torch.randn(2, 3, INPUT_SIZE, INPUT_SIZE),),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program


@torch.inference_mode()
def _largest_difference(module: nn.Module, session: Any) -> float:
    worst = 0.0
    for count in (1, 3):
        images = torch.randn(count, 3, INPUT_SIZE, INPUT_SIZE)
        expected = module(images).numpy()
        (found,) = session.run(None, {"images": images.numpy()})
        worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    return worst


@contextlib.contextmanager
def _silent_exporter() -> Iterator[None]:
    """Silence torch's exporter, which prints and warns about its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
