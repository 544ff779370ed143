"""A trained low-rank network to a model card and a safetensors file that the zoo takes as they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from ..classify.inference import Classifier
from ..data.lmdb.reader import LmdbReader
from ..decode.choose import choose_decoder
from ..lowrank.load import load_network
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
    """A state_dict for storing.

    Args:
        state: Float32.
        kind: ``int8`` stores every weight of two or more dimensions as int8 with ``<key>.scale``, float32, one for each
            output channel, and vectors as float16 where that is as good; ``float16`` stores floating-point tensors so;
            ``float32`` leaves them.
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
    return torch.allclose(tensor.half().float(), tensor, rtol=1e-3, atol=1e-6)


def write_model(
    config: RunConfig, network: nn.Module, scheme: str, ranks: Sequence[int], lambda_: float, history: Path | None
) -> Path:
    """Write ``models/family-scheme-version.*`` in the run's folder, measured on the run's validation file.

    Args:
        config: The run.
        network: Trained.
        scheme: Its scheme.
        ranks: Its ranks.
        lambda_: That they were learned with.
        history: The rank history to put beside it, if there is one.

    Returns:
        The card. Pointing ``LOWRANK_MODELS_DIR`` at its folder puts the model into the app.
    """
    output = config.output
    name = f"{output.family}-{scheme}-{output.version}"
    folder = config.folder / "models"
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{name}.safetensors"
    with atomic_write(weights) as temporary:
        safetensors.torch.save_file(quantised(network.state_dict(), output.format), temporary, {"format": "pt"})
    card = {
        "family": output.family,
        "scheme": scheme,
        "version": output.version,
        "lambda": lambda_,
        "ranks": list(ranks),
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
    card["measured"] = [_measured(config, card, weights)]
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def _measured(config: RunConfig, card: Mapping[str, object], weights: Path) -> dict[str, object]:
    """The stored file's errors, measured as ``validate`` does."""
    parsed = parse_card(card, weights.name)
    network: LowRankAlexNet = load_network(parsed, LocalFile(weights, parsed.weights.sha256, "safetensors"))
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
