"""Scikit-learn's digits in MNIST's format: 28 x 28 pixels."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


def idx(array: Tensor) -> bytes:
    """An idx file of bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.dim()]) + sizes + array.to(torch.uint8).numpy().tobytes()


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files, two of them gzipped."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from tests.helpers.digits import digits

    folder = tmp_path_factory.mktemp("data") / "digits"
    folder.mkdir()
    x, y, other_x, other_y = digits()
    for part, images, labels in (("train", x, y), ("t10k", other_x, other_y)):
        pixels = F.pad(
            (255 * images).round().reshape(-1, 8, 8).repeat_interleave(3, 1).repeat_interleave(3, 2), [2] * 4
        )
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder
