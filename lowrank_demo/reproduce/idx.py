"""MNIST's files, and those of data sets in the same format, such as Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError, UsageError

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""
_UINT8 = 8


@dataclass(frozen=True)
class Digits:
    """Images of 28 x 28 pixels in ten classes, as flat vectors with the mean training image subtracted."""

    name: str
    """Name of the folder that they are from."""
    train: Tensor
    """float32 [n, 784]; pixels are 0 to 1 before the mean is subtracted."""
    train_labels: Tensor
    """int64 [n]."""
    test: Tensor
    test_labels: Tensor


def read_digits(folder: Path) -> Digits:
    """Read the four files of MNIST, gzipped or not.

    Raises:
        UsageError: A file is missing.
        DataError: A file is damaged, or has other contents than MNIST's.
    """
    parts: list[Tensor] = []
    for part in ("train", "t10k"):
        images, labels = _read(folder, f"{part}-images-idx3-ubyte"), _read(folder, f"{part}-labels-idx1-ubyte")
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or not len(labels) or labels.max() > 9:
            raise DataError(
                f"{folder} has {part} images of shape {list(images.shape)} and labels of shape {list(labels.shape)}; "
                "expected as many labels from 0 to 9 as images of 28 x 28 pixels."
            )
        parts += [images.flatten(1).float() / 255, labels.long()]
    mean = parts[0].mean(0)
    return Digits(folder.resolve().name, parts[0] - mean, parts[1], parts[2] - mean, parts[3])


def _read(folder: Path, name: str) -> Tensor:
    """Return one file's array, uint8 (the format: http://yann.lecun.com/exdb/mnist)."""
    # Some archives write the dot where others have a hyphen.
    places = [folder / f"{one}{end}" for one in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise UsageError(
            f"There is no {name} or {name}.gz in {folder}; give MNIST's folder with --data, or install Debian's "
            "package dataset-fashion-mnist."
        )
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged, or cannot be read; copy it again.") from error
    dimensions = data[3] if len(data) > 3 else 0
    shape = [int.from_bytes(data[4 * i : 4 * i + 4], "big") for i in range(1, dimensions + 1)]
    start = 4 + 4 * dimensions
    if data[:3] != bytes([0, 0, _UINT8]) or not dimensions or not 0 < math.prod(shape) == len(data) - start:
        raise DataError(f"{path} is not a whole idx file of bytes; expected MNIST's {name}.")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=start).reshape(shape)
