"""Training batches: reproducible, shared evenly among processes, augmented within bounds."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.decode.pillow import decode_one
from lowrank_demo.decode.pixels import crop_of
from lowrank_demo.train.augmentation import augment
from lowrank_demo.train.batches import Batches, LmdbImages, evenly_spaced, normalise
from lowrank_demo.train.config import DataConfig
from tests.helpers.lmdb_files import build_long_lmdb


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "train.lmdb"
    build_long_lmdb(path, 26)
    return path


@pytest.fixture
def config(file: Path) -> DataConfig:
    return DataConfig(file, file)


def labels(batches: Batches, epoch: int) -> list[int]:
    return [int(label) for _, batch, _ in batches.epoch(epoch) for label in batch]


def test_order_and_crops_depend_on_seed_and_epoch_alone(file: Path, config: DataConfig) -> None:
    def epoch(number: int, seed: int, workers: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = LmdbImages(file, config, seed)
        loaded = list(Batches(images, 8, workers, seed=seed).epoch(number))
        assert [len(batch) for _, batch, _ in loaded] == [8, 8, 8]
        return torch.cat([x for x, *_ in loaded]), torch.cat([y for _, y, _ in loaded])

    first, again, workers = epoch(3, 1, 0), epoch(3, 1, 0), epoch(3, 1, 2)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert torch.equal(first[0], workers[0])
    assert torch.equal(first[1], workers[1])
    for other in (epoch(4, 1, 0), epoch(3, 2, 0)):
        assert not torch.equal(first[1], other[1])


def test_processes_share_an_epoch(file: Path, config: DataConfig) -> None:
    images = LmdbImages(file, config, 0)
    shares = [labels(Batches(images, 4, 0, rank=rank, world=3, seed=0), 0) for rank in range(3)]
    assert [len(share) for share in shares] == [8, 8, 8]
    assert len({label for share in shares for label in share}) == 24


def test_validation_is_the_standard_pipeline_in_order(file: Path) -> None:
    batches = Batches(LmdbImages(file, None, 0), 10, 0, seed=None)
    loaded = list(batches.epoch(0))
    assert [len(batch) for _, batch, _ in loaded] == [10, 10, 6]
    with LmdbReader(file) as reader:
        for at, record in enumerate(reader):
            assert loaded[at // 10][1][at % 10] == record.label
            assert torch.equal(loaded[at // 10][0][at % 10], decode_one(record.image))


def test_augmented_batches_are_normalised_like_those_of_validation(file: Path, config: DataConfig) -> None:
    """An augmentation that changes nothing gives the photo at the size of the crop."""
    same = dataclasses.replace(config, smallest_crop=0.9999, flip=False, colour=0.0)
    (images, *_), *_ = Batches(LmdbImages(file, same, 0), 4, 0, seed=0).epoch(0)
    assert images.dtype == torch.float32
    assert images.shape == (4, 3, 227, 227)
    assert images.is_contiguous(memory_format=torch.channels_last)
    plain = torch.stack([LmdbImages(file, None, 0)[index][0] for index in range(26)])
    for channel in range(3):
        wanted = plain[:, channel].mean((1, 2))
        assert wanted.min() - 0.3 < float(images[:, channel].mean()) < wanted.max() + 0.3


@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_colours_of_any_mode_are_those_that_validation_sees(mode: str, config: DataConfig) -> None:
    odd = {
        "RGBA": Image.new("RGBA", (300, 300), (0, 0, 0, 0)),
        "I;16": Image.fromarray(np.full((300, 300), 100 * 256, np.uint16)),
    }
    data = io.BytesIO()
    odd[mode].save(data, "TIFF")
    plain = dataclasses.replace(config, colour=0.0)
    seen = augment(data.getvalue(), plain, random.Random(0)).numpy()
    assert np.array_equal(seen, crop_of(data.getvalue()))


def test_augmentation_changes_and_can_be_left_out(file: Path, config: DataConfig) -> None:
    images = LmdbImages(file, config, 0)
    one, same = images[0][0], images[0][0]
    images.passes = 1
    other = images[0][0]
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (227, 227, 3)


def test_the_largest_crop_is_that_of_validation_and_is_flipped_and_coloured_too(file: Path, config: DataConfig) -> None:
    def view(number: int, **changes: object) -> torch.Tensor:
        images = LmdbImages(file, dataclasses.replace(config, smallest_crop=1.0, **changes), 0)
        images.passes = number
        return normalise(images[0][0][None])[0]

    with LmdbReader(file) as reader:
        plain = decode_one(reader[0].image)
    torch.testing.assert_close(view(0, flip=False, colour=0.0), plain, atol=1e-5, rtol=1e-5)
    flipped = [torch.allclose(view(number, colour=0.0), plain.flip(2), atol=1e-5) for number in range(8)]
    assert True in flipped
    assert False in flipped
    assert not torch.allclose(view(0, flip=False), plain, atol=0.1)


def test_a_shifted_crop_is_a_part_of_the_image_as_it_is(tmp_path: Path) -> None:
    """As in Caffe: no pixel is resized, and every place may come."""
    pixels = np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG")
    config = DataConfig(tmp_path, tmp_path, crop="shifted", flip=False, colour=0.0)
    places: set[tuple[int, int]] = set()
    for seed in range(40):
        crop = augment(stored.getvalue(), config, random.Random(seed)).numpy()
        corners = np.argwhere((pixels[:30, :74] == crop[0, 0]).all(2))
        (place,) = [(y, x) for y, x in corners if np.array_equal(pixels[y : y + 227, x : x + 227], crop)]
        places.add(place)
    assert len(places) > 30
    assert min(y for y, _ in places) < 3
    assert max(x for _, x in places) > 65


def test_views_come_again(file: Path, config: DataConfig, tmp_path: Path) -> None:
    """So that a teacher's answers to them can be kept; in another file the same image has the same crops."""
    images = LmdbImages(file, dataclasses.replace(config, views=2), 0)

    def crop(epoch: int, index: int, images: LmdbImages = images) -> torch.Tensor:
        images.passes = epoch
        return images[index][0]

    assert torch.equal(crop(0, 3), crop(2, 3))
    assert torch.equal(crop(1, 3), crop(5, 3))
    assert not torch.equal(crop(0, 3), crop(1, 3))
    build_long_lmdb(tmp_path / "shorter.lmdb", 5)
    shorter = LmdbImages(tmp_path / "shorter.lmdb", config, 0)
    assert torch.equal(crop(1, 3, shorter), crop(1, 3))


def test_a_pass_may_be_several_epochs(file: Path, config: DataConfig) -> None:
    images = LmdbImages(file, dataclasses.replace(config, views=2), 0)
    whole, parts = Batches(images, 4, 0, seed=0), Batches(images, 4, 0, seed=0, parts=3)
    assert (whole.per_epoch, parts.per_epoch) == (6, 2)
    for number in range(2):
        shown = [label for part in range(3) for label in labels(parts, 3 * number + part)]
        assert shown == labels(whole, number)[: len(shown)]
        assert images.passes == number


@pytest.mark.parametrize(("count", "indices"), [(4, [0, 6, 12, 18]), (25, range(25)), (26, range(26)), (99, range(26))])
def test_evenly_spaced_images(file: Path, count: int, indices: Sequence[int]) -> None:
    images = LmdbImages(file, None, 0)
    assert torch.equal(evenly_spaced(file, count), torch.stack([images[index][0] for index in indices]))
