"""Write trained low-rank networks as model cards and a safetensors file, which the zoo reads as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ..classify.inference import Classifier
from ..data.lmdb.reader import LmdbReader
from ..decode.choose import choose_decoder
from ..errors import NotWritten
from ..lowrank.load import load_network
from ..models.architecture import Layer
from ..models.cards import parse_card
from ..models.store import LocalFile
from ..nn.alexnet import LowRankAlexNet
from ..nn.nested import NestedAlexNet, Version
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


@contextlib.contextmanager
def writing(path: Path, afterwards: str = "--resume continues from the last checkpoint") -> Iterator[Path]:
    """Yield a temporary path that becomes one of a run's files, as :func:`atomic_write` does; its folder is made.

    Args:
        path: The file.
        afterwards: What to do once there is space, for the message.

    Raises:
        NotWritten: It could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            yield temporary
    except (OSError, SafetensorError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise NotWritten(f"{path} could not be written ({reason}); free space, then {afterwards}.") from error


def _fits_float16(tensor: Tensor) -> bool:
    """Return whether float16 holds the values with a relative error of at most 0.1 %."""
    return torch.allclose(tensor.half().float(), tensor, rtol=1e-3, atol=1e-6)


@dataclass(frozen=True)
class Trained:
    """A trained model, for its card."""

    scheme: str
    version: str
    ranks: tuple[int, ...]
    lambda_: float
    """The λ that its ranks were learned with."""


def write_model(config: RunConfig, network: LowRankAlexNet, lambda_: float, history: Path | None) -> Path:
    """Write ``models/family-scheme-version.*`` in the run's folder, with errors measured on its validation file.

    Args:
        config: The run.
        network: The trained network.
        lambda_: The λ that its ranks were learned with.
        history: The rank history to copy beside it; None or a missing file for none.

    Returns:
        The path of the card. Set ``LOWRANK_MODELS_DIR`` to its folder to use the model in the app.
    """
    output = config.output
    name = f"{output.family}-{network.scheme}-{output.version}"
    model = Trained(network.scheme, output.version, network.ranks, lambda_)
    source = _write_weights(config, name, network.state_dict(), "safetensors")
    return _write_card(config, model, source, network.layers, history)


def write_nested(config: RunConfig, network: NestedAlexNet, lambdas: Mapping[Version, float]) -> list[Path]:
    """Write the versions of a nested network: one weight file, a card for each; return the cards' paths.

    Args:
        config: The run.
        network: The trained network.
        lambdas: The λ that each version's ranks were learned with.
    """
    source = _write_weights(config, config.output.family, network.tensors(), "nested")
    return [
        _write_card(config, Trained(one.scheme, one.name, one.ranks, lambdas[one]), source, network.layers, None)
        for one in network.versions
    ]


def _write_weights(
    config: RunConfig, name: str, state: Mapping[str, Tensor], kind: Literal["safetensors", "nested"]
) -> LocalFile:
    folder = config.folder / "models"
    path = folder / f"{name}.safetensors"
    with writing(path) as temporary:
        safetensors.torch.save_file(quantised(state, config.output.format), temporary, {"format": "pt"})
    return LocalFile(path, hashlib.sha256(path.read_bytes()).hexdigest(), kind)


def _write_card(
    config: RunConfig, model: Trained, weights: LocalFile, layers: Sequence[Layer], history: Path | None
) -> Path:
    output = config.output
    name = f"{output.family}-{model.scheme}-{model.version}"
    card = {
        "family": output.family,
        "scheme": model.scheme,
        "version": model.version,
        "lambda": model.lambda_,
        "ranks": list(model.ranks),
        "published": None,
        "weights": {"url": None, "file": weights.path.name, "sha256": weights.sha256, "format": weights.format},
        "licence": output.licence,
        "provenance": output.provenance,
        "note": output.note,
        "measured": [],
        "history": None,
    }
    path = weights.path.with_name(f"{name}{CARD_SUFFIX}")
    if history is not None and history.exists():
        card["history"] = f"{name}.history.json"
        with writing(path.with_name(card["history"])) as temporary:
            shutil.copy(history, temporary)
    card["measured"] = [_measure(config, card, weights, layers)]
    with writing(path) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def _measure(
    config: RunConfig, card: Mapping[str, object], weights: LocalFile, layers: Sequence[Layer]
) -> dict[str, object]:
    """Return the errors of the stored file, measured as ``validate`` measures them."""
    parsed = parse_card(card, weights.path.name)
    network = load_network(parsed, weights, layers)
    cpu = torch.device("cpu")
    decoder = choose_decoder(Settings.from_environment(), cpu).decoder
    with LmdbReader(config.data.validation) as reader:
        validation = Validation(reader, [(parsed.id, Classifier(network, cpu))], [decoder])
        for _ in validation:
            pass
        (result,) = model_results(validation.sums, [parsed])
    return {
        "dataset": config.data.validation.name,
        "images": result.count,
        "top1_error": result.top1_error,
        "top5_error": result.top5_error,
        "command": f"python -m lowrank_demo validate --lmdb-file {config.data.validation.name} --models {parsed.id}",
    }
