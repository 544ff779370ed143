"""MNIST's files, whole and damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from lowrank_demo.errors import DataError, UsageError
from lowrank_demo.reproduce.idx import FASHION_MNIST, read_digits
from tests.reproduce.conftest import idx

IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"


def test_images_and_labels(mnist: Path) -> None:
    from tests.helpers.digits import digits

    found = read_digits(mnist)
    assert found.name == "digits"
    assert (found.train.shape, found.test.shape) == ((1200, 784), (597, 784))
    assert torch.equal(found.test_labels, digits()[3])
    assert float(found.train.mean(0).abs().max()) < 1e-6, "the mean image is subtracted"
    middle = found.test.reshape(-1, 28, 28)[:, 3::3, 3::3][:, :8, :8].flatten(1)
    mean = digits()[0].mean(0)
    torch.testing.assert_close(middle, digits()[2] - mean, atol=0.003, rtol=0)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (IMAGES, b"no gzip", "t10k-images-idx3-ubyte.gz is damaged"),
        (LABELS, b"", "not a whole idx file"),
        (LABELS, idx(torch.zeros(597))[:-1], "not a whole idx file"),
        (LABELS, b"\0\0\x08\0", "not a whole idx file"),
        (LABELS, idx(torch.zeros(3)), r"labels of shape \[3\]; expected as many"),
        (LABELS, idx(torch.full((597,), 10)), "labels from 0 to 9"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, mnist: Path, name: str, data: bytes, expected: str) -> None:
    folder = shutil.copytree(mnist, tmp_path / "mnist")
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=expected):
        read_digits(folder)


def test_a_missing_file_is_named(tmp_path: Path, mnist: Path) -> None:
    folder = shutil.copytree(mnist, tmp_path / "mnist")
    (folder / LABELS).unlink()
    with pytest.raises(UsageError, match=r"There is no t10k-labels-idx1-ubyte or .*; give MNIST's folder with --data"):
        read_digits(folder)


@pytest.mark.skipif(not FASHION_MNIST.exists(), reason="needs Debian's package dataset-fashion-mnist")
def test_debians_fashion_mnist() -> None:
    found = read_digits(FASHION_MNIST)
    assert (found.train.shape, found.test.shape) == ((60000, 784), (10000, 784))
    assert found.test_labels.bincount().tolist() == [1000] * 10
