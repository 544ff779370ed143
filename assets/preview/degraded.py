"""A teacher for sharp photos: what the bundled scheme 2 v5 sees of them at 96 pixels, compressed.

All photos of Tiny-ImageNet's 200 classes are small and compressed, nearly all sharp ones show something else. A network
that learns from both takes sharpness for a sign that it is none of the 200. The same network knows better when a sharp
photo is made as poor as Tiny-ImageNet's: that answer teaches it what to say of the photo as it is. In a run's file:
``teacher = "degraded:teacher"``, with this folder in ``PYTHONPATH``.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from lowrank_demo.decode.base import CROP, MEAN, STD
from lowrank_demo.lowrank.load import fetch_network
from lowrank_demo.models.download import print_download
from lowrank_demo.models.store import WeightStore
from lowrank_demo.nn.fuse import inference_form
from lowrank_demo.settings import Settings

MODEL, EDGE, QUALITY = "preview/scheme_2/v5", 96, 85


class Degraded(nn.Module):
    """The network behind Tiny-ImageNet's size and compression."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self._threads = ThreadPoolExecutor(torch.get_num_threads())

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float [n, 1000], of normalised images, float [n, 3, 227, 227]."""
        with torch.autocast(images.device.type, enabled=False):
            # Bytes are resized many times faster than floats.
            pixels = (images.float() * self.std + self.mean).clamp_(0, 255).round_().byte().cpu()
            small = F.interpolate(pixels, size=EDGE, mode="bicubic", antialias=True).permute(0, 2, 3, 1).numpy()
            poor = torch.from_numpy(np.stack(list(self._threads.map(_compressed, small)))).permute(0, 3, 1, 2)
            back = F.interpolate(poor, size=CROP, mode="bicubic", antialias=True).to(images.device)
            return self.network((back.float() - self.mean) / self.std)


def teacher() -> nn.Module:
    """What ``train`` asks for."""
    store = WeightStore.from_settings(Settings.from_environment())
    network = fetch_network(store, store.zoo.get(MODEL), print_download)
    # Photos made small here need no card's pre-shrink.
    return Degraded(inference_form(network, dtype=torch.bfloat16))


def _compressed(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    with Image.open(file) as image:
        return np.asarray(image)
