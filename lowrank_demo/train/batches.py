"""Batches from an LMDB file: decoded and augmented, in an order that the seed and the epoch decide.

An image's crop comes from the seed, the view and the image's own bytes. So neither the number of workers nor a resume
changes it, and a teacher's answer to it stays right when the same image is in another file.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.lmdb.reader import LmdbReader, check_label
from ..decode.base import MEAN, STD
from ..decode.pillow import decode_one
from .answers import Kept
from .augmentation import augment
from .config import DataConfig

_MEAN, _INVERSE_STD = torch.tensor(MEAN), 1 / torch.tensor(STD)


class LmdbImages(Dataset[tuple[Tensor, int, Tensor]]):
    """The images of an LMDB file, their labels, and a teacher's answers to them.

    Augmented pixels are uint8 [227, 227, 3], which travels faster between processes; others are normalised float32
    [3, 227, 227]. An answer is float16 [classes], or empty without a teacher's file.

    Args:
        path: The file; each process opens it for itself.
        config: Augmentation; None uses the input pipeline of validation.
        seed: Seed of the augmentation.
        labelled: Whether the labels must be classes.
    """

    def __init__(
        self,
        path: Path,
        config: DataConfig | None,
        seed: int,
        *,
        labelled: bool = True,
    ) -> None:
        self._path = path
        self._config = config
        self._seed = seed
        self._labelled = labelled
        self.passes = 0
        """Number of finished passes over the file, which decides the view."""
        self.answers: Kept | None = None
        """A teacher's answers to the views of these images."""
        self._reader: LmdbReader | None = None
        with LmdbReader(path) as reader:
            self._count = len(reader)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, int, Tensor]:
        # Opened here: an environment must not be shared across fork.
        if self._reader is None:
            self._reader = LmdbReader(self._path)
        record = self._reader[index]
        if self._labelled:
            check_label(record.label, index, self._path.name)
        view = self.passes
        if self._config is not None and self._config.views:
            view %= self._config.views
        if self._config is None:
            pixels = decode_one(record.image)
        else:
            digest = hashlib.blake2b(record.image, digest_size=8).hexdigest()
            pixels = augment(record.image, self._config, random.Random(f"{self._seed} {view} {digest}"))
        answer = self.answers[view, index] if self.answers is not None else torch.empty(0)
        return pixels, record.label, answer

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_reader": None}


def evenly_spaced(path: Path, count: int) -> Tensor:
    """Return up to ``count`` evenly spaced images of a file, as validation sees them: float32 [n, 3, 227, 227]."""
    images = LmdbImages(path, None, 0, labelled=False)
    step = max(1, len(images) // count)
    return torch.stack([images[index][0] for index in range(0, len(images), step)[:count]])


class Batches:
    """The batches of one training process, epoch by epoch.

    Args:
        images: The data set.
        batch_size: Images in a batch of this process.
        workers: Decoding processes; 0 decodes in this one.
        rank: This process among ``world``: each takes its own share of every epoch.
        world: Number of training processes.
        seed: Seed of the order; None keeps the file's order and the last, smaller batch.
        parts: Number of epochs in one pass over the images.
    """

    def __init__(
        self,
        images: LmdbImages,
        batch_size: int,
        workers: int,
        *,
        rank: int = 0,
        world: int = 1,
        seed: int | None,
        parts: int = 1,
    ) -> None:
        self._images = images
        self._batch_size = batch_size
        self._workers = workers
        self._rank, self._world = rank, world
        self._seed = seed
        self._parts = parts
        self.per_epoch = len(self._indices(0)) // batch_size if seed is not None else 0

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield normalised images, float32 [n, 3, 227, 227], labels, int64 [n], and answers, float16 [n, classes]."""
        self._images.passes = number // self._parts
        loader = DataLoader(
            self._images,
            batch_size=self._batch_size,
            sampler=self._indices(number),
            num_workers=self._workers,
            drop_last=self._seed is not None,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="spawn" if self._workers else None,
        )
        for images, labels, answers in loader:
            yield normalise(images), labels, answers

    def _indices(self, number: int) -> list[int]:
        count = len(self._images)
        if self._seed is None:
            return list(range(self._rank, count, self._world))
        whole, part = divmod(number, self._parts)
        order = np.random.default_rng([self._seed, whole]).permutation(count)
        count //= self._parts
        order = order[part * count : (part + 1) * count]
        # Every process has the same number of images, so that none waits for a batch that does not come.
        return order[self._rank : count - count % self._world : self._world].tolist()


def normalise(pixels: Tensor) -> Tensor:
    """Return uint8 [n, h, w, 3] as the network takes it: float32 [n, 3, h, w], channels last; others as they are."""
    if pixels.dtype != torch.uint8:
        return pixels
    return ((pixels.float() - _MEAN) * _INVERSE_STD).permute(0, 3, 1, 2)
