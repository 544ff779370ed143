"""Takes JPEG's traces out of Tiny-ImageNet's training photos: ``python assets/preview/clean.py PHOTOS``.

Every photo there was compressed at 64 pixels (quality 75, chroma halved), which nobody's own photo is: a network that
learns from them expects those traces, and sees less in clean photos. A small network learns to undo the compression
from the sharp photos below PHOTOS (``sharp``, from ``photos.py``), made small and compressed in the same way; it then
writes every other photo of ``tiny`` as ``clean``. Residual learning as in Zhang et al., "Beyond a Gaussian Denoiser"
(TIP 2017).
"""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn

EDGE, BATCH, EPOCHS, CHANNELS = 64, 64, 4, 32
LEARNT = 15_000
"""So many of the sharp photos are enough to learn from."""


def main(photos: Path) -> None:
    """Learn, then write ``clean``."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU()),
        *(layer for _ in range(4) for layer in (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU())),
        nn.Conv2d(CHANNELS, 3, 3, padding=1),
    ).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    _learn(network, random.Random(0).sample(sorted((photos / "sharp").rglob("*.jpg")), LEARNT))
    files = sorted((photos / "tiny" / "train").glob("*/images/*.JPEG"))[::2]
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        for file, pixels in zip(batch, _restored(network, _stack([file.read_bytes() for file in batch])), strict=True):
            target = photos / "clean" / file.parent.parent.name / f"{file.stem}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target, "JPEG", quality=95, subsampling="4:4:4")
        print(f"\r{start + len(batch):,} of {len(files):,} photos", end="", flush=True)


def _learn(network: nn.Module, files: list[Path]) -> None:
    clean = _stack([file.read_bytes() for file in files])
    compressed = _stack([_compressed(pixels) for pixels in clean])
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, EPOCHS * (len(files) // BATCH))
    for epoch in range(EPOCHS):
        order = torch.randperm(len(files))
        total = before = 0.0
        for number in range(len(files) // BATCH):
            chosen = order[number * BATCH : (number + 1) * BATCH].numpy()
            given, wanted = _tensor(compressed[chosen]), _tensor(clean[chosen])
            found = _undone(network, given)
            loss = F.mse_loss(found, wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
            before += float(F.mse_loss(given, wanted))
        print(f"epoch {epoch + 1}: squared error {total / before:.3f} of the compressed photos'", flush=True)


@torch.inference_mode()
def _restored(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    found = _undone(network, _tensor(pixels))
    return (found.clamp(-1, 1) * 127.5 + 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def _undone(network: nn.Module, given: Tensor) -> Tensor:
    """The photos with what the network takes for compression taken out."""
    with torch.autocast("cpu", torch.bfloat16):
        return given + network(given).float()


def _tensor(pixels: np.ndarray) -> Tensor:
    """Uint8 [n, h, w, 3] to float32 [n, 3, h, w], -1 to 1, channels last."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def _stack(files: list[bytes]) -> np.ndarray:
    """The photos' central squares, uint8 [n, 64, 64, 3]."""
    squares: list[np.ndarray] = []
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            squares.append(np.asarray(ImageOps.fit(image.convert("RGB"), (EDGE, EDGE), Image.Resampling.LANCZOS)))
    return np.stack(squares)


def _compressed(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=75, subsampling="4:2:0")
    return file.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
