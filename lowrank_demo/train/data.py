"""Batches from an LMDB file: decoded, augmented, in an order and with crops that the seed and the epoch decide.

Each image's randomness comes from (seed, epoch, index), so neither the number of workers nor a resume changes it.
"""

from __future__ import annotations

import io
import math
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.lmdb.reader import LmdbReader, check_label
from ..decode.base import CROP, MEAN, STD
from ..decode.pillow import decode_one
from .config import DataConfig

_MEAN, _INVERSE_STD = torch.tensor(MEAN), 1 / torch.tensor(STD)
_RATIO = (3 / 4, 4 / 3)


class LmdbImages(Dataset[tuple[Tensor, int]]):
    """Images of an LMDB file, and their labels.

    Augmented pixels are uint8 [227, 227, 3], which travels faster between processes; others are float32 [3, 227, 227],
    normalised.

    Args:
        path: The file; each process opens it for itself.
        config: Augmentation; None takes the input pipeline of validation.
        seed: Of the augmentation.
    """

    def __init__(self, path: Path, config: DataConfig | None, seed: int) -> None:
        self._path = path
        self._config = config
        self._seed = seed
        self.epoch = 0
        self._reader: LmdbReader | None = None
        with LmdbReader(path) as reader:
            self._count = len(reader)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        # Opened here: an environment must not be shared across fork.
        if self._reader is None:
            self._reader = LmdbReader(self._path)
        record = self._reader[index]
        check_label(record.label, index, self._path.name)
        if self._config is None or self._config.smallest_crop == 1:
            pixels = decode_one(record.image, oriented=False)
        else:
            randomness = random.Random(f"{self._seed} {self.epoch} {index}")
            pixels = _augmented(record.image, self._config, randomness)
        return pixels, record.label

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_reader": None}


def evenly_spread(path: Path, count: int) -> Tensor:
    """So many of a file's images, or all if there are fewer, as validation sees them: float32 [n, 3, 227, 227]."""
    images = LmdbImages(path, None, 0)
    step = max(1, len(images) // count)
    return torch.stack([images[index][0] for index in range(0, len(images), step)[:count]])


def _augmented(data: bytes, config: DataConfig, randomness: random.Random) -> Tensor:
    """A random resized crop, perhaps mirrored, with changed colours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data))
        image = image.convert("RGB")
    image = _degraded(image, config, randomness)
    # Colours are changed where there are fewer pixels.
    small = image.width * image.height < CROP * CROP
    if small:
        image = _recoloured(image, config, randomness)
    image = image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=_crop_box(image, config.smallest_crop, randomness))
    if config.flip and randomness.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if not small:
        image = _recoloured(image, config, randomness)
    return torch.from_numpy(np.array(image))


def _recoloured(image: Image.Image, config: DataConfig, randomness: random.Random) -> Image.Image:
    """Brightness, contrast and saturation changed in a random order."""
    if config.colour:
        changes = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
        randomness.shuffle(changes)
        for change in changes:
            image = change(image).enhance(1 + randomness.uniform(-config.colour, config.colour))
    return image


def _degraded(image: Image.Image, config: DataConfig, randomness: random.Random) -> Image.Image:
    """Perhaps a smaller photo, perhaps a more compressed one."""
    edge = min(image.size)
    if 0 < config.smallest_edge < edge and randomness.random() < 0.5:
        scale = randomness.randint(config.smallest_edge, edge) / edge
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if config.lowest_quality and randomness.random() < 0.5:
        compressed = io.BytesIO()
        image.save(compressed, "JPEG", quality=randomness.randint(config.lowest_quality, 95))
        image = Image.open(compressed).convert("RGB")
    return image


def _crop_box(image: Image.Image, smallest: float, randomness: random.Random) -> tuple[float, float, float, float]:
    """A box of random area and ratio inside the image; the largest central square where none fits."""
    width, height = image.size
    for _ in range(10):
        area = width * height * randomness.uniform(smallest, 1)
        ratio = math.exp(randomness.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = randomness.uniform(0, width - w), randomness.uniform(0, height - h)
            return left, top, left + w, top + h
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    return left, top, left + edge, top + edge


class Batches:
    """The batches of this process, epoch by epoch.

    Args:
        images: The data set.
        batch_size: Images in a batch of this process.
        workers: Decoding processes.
        rank: This process among ``world``: each takes its own share of every epoch.
        world: Training processes.
        seed: Of the order; None keeps the file's order and the last, smaller batch.
    """

    def __init__(
        self, images: LmdbImages, batch_size: int, workers: int, *, rank: int = 0, world: int = 1, seed: int | None
    ) -> None:
        self._images = images
        self._batch_size = batch_size
        self._workers = workers
        self._rank, self._world = rank, world
        self._seed = seed
        self.per_epoch = len(self._indices(0)) // batch_size if seed is not None else 0

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images float32 [n, 3, 227, 227] and labels int64 [n]."""
        self._images.epoch = number
        loader = DataLoader(
            self._images,
            batch_size=self._batch_size,
            sampler=self._indices(number),
            num_workers=self._workers,
            drop_last=self._seed is not None,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="spawn" if self._workers else None,
        )
        for images, labels in loader:
            yield _normalised(images) if images.dtype == torch.uint8 else images, labels

    def _indices(self, number: int) -> list[int]:
        count = len(self._images)
        if self._seed is None:
            return list(range(self._rank, count, self._world))
        order = np.random.default_rng([self._seed, number]).permutation(count)
        # Every process has the same number of images, so that none waits for a batch that does not come.
        return order[self._rank : count - count % self._world : self._world].tolist()


def _normalised(pixels: Tensor) -> Tensor:
    """Uint8 [n, h, w, 3] as the network takes it, float32 [n, 3, h, w], channels last."""
    return ((pixels.float() - _MEAN) * _INVERSE_STD).permute(0, 3, 1, 2)
