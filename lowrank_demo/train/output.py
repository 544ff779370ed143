"""Write a trained low-rank network as a model card and a safetensors file, which the zoo reads as they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..classify.inference import Classifier
from ..data.lmdb.reader import LmdbReader
from ..decode.choose import choose_decoder
from ..lowrank.load import load_network
from ..models.architecture import Layer
from ..models.cards import parse_card
from ..models.store import LocalFile
from ..nn.alexnet import LowRankAlexNet
from ..runtime.files import atomic_write
from ..settings import Settings
from ..validate.evaluate import Validation
from ..validate.report import model_results
from .config import RunConfig

CARD_SUFFIX = ".card.json"


def quantised(state: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return a state_dict in the form in which it is stored.

    Args:
        state: Float32.
        kind: ``int8`` stores every weight of two or more dimensions as int8 with ``<key>.scale``, float32, one for each
            output channel, and vectors as float16 where that loses nothing that matters; ``float16`` stores all
            floating-point tensors as float16; ``float32`` leaves them.
    """
    stored: dict[str, Tensor] = {}
    for key, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        if kind == "int8" and tensor.dim() > 1:
            scale = tensor.abs().flatten(1).amax(1).clamp(min=1e-12) / 127
            spread = scale.reshape(-1, *[1] * (tensor.dim() - 1))
            stored[key] = (tensor / spread).round().clamp(-127, 127).to(torch.int8)
            stored[f"{key}.scale"] = scale
        elif tensor.is_floating_point() and (kind == "float16" or (kind == "int8" and _fits_float16(tensor))):
            stored[key] = tensor.half()
        else:
            stored[key] = tensor
    return stored


def _fits_float16(tensor: Tensor) -> bool:
    """Return whether float16 holds the values with a relative error of at most 0.1 %."""
    return torch.allclose(tensor.half().float(), tensor, rtol=1e-3, atol=1e-6)


def write_model(config: RunConfig, network: LowRankAlexNet, lambda_: float, history: Path | None) -> Path:
    """Write ``models/family-scheme-version.*`` in the run's folder, with errors measured on its validation file.

    Args:
        config: The run.
        network: The trained network.
        lambda_: The λ that its ranks were learned with.
        history: The rank history to copy beside it; None or a missing file for none.

    Returns:
        The path of the card. ``LOWRANK_MODELS_DIR`` set to its folder puts the model into the app.
    """
    output = config.output
    name = f"{output.family}-{network.scheme}-{output.version}"
    folder = config.folder / "models"
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{name}.safetensors"
    with atomic_write(weights) as temporary:
        safetensors.torch.save_file(quantised(network.state_dict(), output.format), temporary, {"format": "pt"})
    card = {
        "family": output.family,
        "scheme": network.scheme,
        "version": output.version,
        "lambda": lambda_,
        "ranks": list(network.ranks),
        "published": None,
        "weights": {
            "url": None,
            "file": weights.name,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "format": "safetensors",
        },
        "pre_shrink": output.pre_shrink or None,
        "licence": output.licence,
        "provenance": output.provenance,
        "note": output.note,
        "measured": [],
        "history": None,
    }
    if history is not None and history.exists():
        card["history"] = f"{name}.history.json"
        shutil.copy(history, folder / card["history"])
    path = folder / f"{name}{CARD_SUFFIX}"
    card["measured"] = [_measure(config, card, weights, network.layers)]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def _measure(
    config: RunConfig, card: Mapping[str, object], weights: Path, layers: Sequence[Layer]
) -> dict[str, object]:
    """Return the errors of the stored file, measured as ``validate`` measures them."""
    parsed = parse_card(card, weights.name)
    network = load_network(parsed, LocalFile(weights, parsed.weights.sha256, "safetensors"), layers)
    cpu = torch.device("cpu")
    decoder = choose_decoder(Settings.from_environment(), cpu).decoder
    with LmdbReader(config.data.validation) as reader:
        validation = Validation(reader, [(parsed.id, Classifier(network, parsed.pre_shrink, cpu))], decoder)
        for _ in validation:
            pass
        (result,) = model_results(validation.sums, [parsed])
    return {
        "dataset": f"{config.data.validation.name}, {result.count:,} images",
        "top1_error": result.top1_error,
        "top5_error": result.top5_error,
        "command": f"python -m lowrank_demo validate --lmdb-file {config.data.validation.name} --models {parsed.id}",
    }
