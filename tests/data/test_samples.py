"""Finding images and their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from lowrank_demo.data.samples import class_folder_samples, imagenet_samples
from lowrank_demo.errors import UsageError
from tests.helpers.paths import touch


def test_official_flat_val_folder(tmp_path: Path) -> None:
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 2, 3, 50000)]
    touch(tmp_path / "val", *names)
    for folder in (tmp_path, tmp_path / "val"):
        samples = imagenet_samples(folder, "val").found
        # From ILSVRC2012's validation ground truth (synsets n01751748, n09193705, n02105855, n02437616).
        assert [sample.label for sample in samples][:3] == [65, 970, 230]
        assert len(samples) == 4


@pytest.mark.parametrize(
    ("folders", "split", "expected"),
    [
        (("train", "Validation"), "val", "Validation"),
        (("Data/CLS-LOC/train", "Data/CLS-LOC/val", "Data/CLS-LOC/test"), "train", "Data/CLS-LOC/train"),
        (("ILSVRC/Data/CLS-LOC/val", "LOC_info"), "val", "ILSVRC/Data/CLS-LOC/val"),
        (("ILSVRC2012_img_train", "ILSVRC2012_img_val"), "val", "ILSVRC2012_img_val"),
        (("n02129165",), "train", "."),
        (("train", "test"), "val", "holds test and train; expected one folder of the val images, such as val"),
        (("val", "valid"), "val", "holds val and valid; expected one folder"),
    ],
)
def test_the_images_of_another_split_are_never_taken(
    tmp_path: Path, folders: Sequence[str], split: Literal["val", "train"], expected: str
) -> None:
    touch(tmp_path, *(f"{folder}/lion/1.jpg" for folder in folders))
    if "expected" in expected:
        with pytest.raises(UsageError, match=expected):
            imagenet_samples(tmp_path, split)
    else:
        samples = imagenet_samples(tmp_path, split).found
        assert [sample.path.is_relative_to(tmp_path / expected) for sample in samples] == [True]


def test_synset_folders(tmp_path: Path) -> None:
    touch(tmp_path / "train", "n01440764/a.JPEG", "n15075141/b.JPEG", "n15075141/note.txt")
    assert sorted(sample.label for sample in imagenet_samples(tmp_path, "train").found) == [0, 999]


@pytest.mark.parametrize(
    "name",
    [
        "ILSVRC2012_val_00000293_n02129165.JPEG",
        "ILSVRC2012_val_00001359.jpg",
        "ILSVRC2012_val_00001359.PNG",
        "ilsvrc2012_val_00001359.jpeg",
        "007/ILSVRC2012_val_00001359.JPEG",  # a part of the set, not a class
        "images/ILSVRC2012_val_00001359.JPEG",
        "n02129165/ILSVRC2012_val_00001359.JPEG",
        "291/any.jpg",
    ],
)
def test_names_of_the_validation_set_as_converters_write_them(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "val", name)
    assert [sample.label for sample in imagenet_samples(tmp_path, "val").found] == [291]


@pytest.mark.parametrize(
    "name", ["n02129165_1234.JPEG", "n02129165_1234_n02129165.JPEG", "n02129165/n02129165_1234.JPEG", "lion/x.png"]
)
def test_training_images_flat_and_in_folders(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "train", name)
    assert [sample.label for sample in imagenet_samples(tmp_path, "train").found] == [291]


def test_training_images_are_shuffled_and_the_seed_is_kept(tmp_path: Path) -> None:
    touch(tmp_path / "train", *(f"n02129165/n02129165_{i}.JPEG" for i in range(50)), "n01440764/a.JPEG")
    samples = imagenet_samples(tmp_path, "train")
    paths = [sample.path for sample in samples.found]
    assert samples.seed is not None
    assert paths != sorted(paths)
    assert paths == [sample.path for sample in imagenet_samples(tmp_path, "train").found], "the same order each time"
    touch(tmp_path / "val", "ILSVRC2012_val_00001359.JPEG")
    assert imagenet_samples(tmp_path, "val").seed is None


def test_a_file_outside_the_validation_set_is_listed(tmp_path: Path) -> None:
    touch(tmp_path, "cat.jpg", "ILSVRC2012_val_00050001.JPEG")
    with pytest.raises(UsageError, match=r"No image in .*numbered from 1 to 50,000.*It is not in a class folder"):
        imagenet_samples(tmp_path, "val")
    touch(tmp_path, "ILSVRC2012_val_00001359.JPEG")
    samples = imagenet_samples(tmp_path, "val")
    assert len(samples.found) == 1
    assert sum(item.images for item in samples.refused) == 2


@pytest.mark.parametrize(
    ("split", "good", "bad"),
    [
        ("train", "n02129165_1.JPEG", "n00004475_1.JPEG"),
        ("train", "n02129165/n02129165_1.JPEG", "n00004475/n00004475_1.JPEG"),
        ("val", "ILSVRC2012_val_00001359.JPEG", "ILSVRC2012_val_00000002_n00004475.JPEG"),
        ("val", "ILSVRC2012_val_00001359.JPEG", "7/ILSVRC2012_val_00000002_n00004475.JPEG"),
    ],
)
def test_a_file_named_by_a_synset_outside_the_1000_is_listed(
    tmp_path: Path, split: Literal["val", "train"], good: str, bad: str
) -> None:
    samples = imagenet_samples(touch(tmp_path, good, bad), split)
    assert [sample.label for sample in samples.found] == [291]
    (refused,) = samples.refused
    assert refused.path == (tmp_path / bad).parent
    assert refused.reason.startswith("n00004475 is not one of the 1000 classes' synset ids")


def test_class_named_folders(tmp_path: Path) -> None:
    touch(tmp_path, "lion/1.jpg", "291/2.jpg", "n02129165/3.png", "Golden_Retriever/4.jpg", "set/lion/day/5.jpg")
    assert sorted(s.label for s in class_folder_samples(tmp_path).found) == [207, 291, 291, 291, 291]


def test_unknown_folders_are_listed_and_the_rest_is_used(tmp_path: Path) -> None:
    touch(tmp_path, "lion/1.jpg", "unicorn/1.jpg", "unicorn/2.jpg", "n00004475/1.jpg", "crane/1.jpg", "loose.jpg")
    samples = class_folder_samples(tmp_path)
    assert [sample.label for sample in samples.found] == [291]
    said = {item.path.relative_to(tmp_path).as_posix(): (item.images, item.reason) for item in samples.refused}
    assert {name: images for name, (images, _) in said.items()} == {"unicorn": 2, "n00004475": 1, "crane": 1, ".": 1}
    assert "none of the 1000 classes" in said["unicorn"][1]
    assert "it may be one of ImageNet-21k's" in said["n00004475"][1]
    assert "more than one class" in said["crane"][1]
    assert "not in a class folder" in said["."][1]


def test_a_number_counts_only_where_nothing_else_names_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "1/lion/a.jpg", "n02129165/1/b.jpg", "7/c.jpg")
    assert sorted(s.label for s in class_folder_samples(tmp_path).found) == [7, 291, 291]
    touch(tmp_path, "tench/lion/d.jpg")
    (refused,) = class_folder_samples(tmp_path).refused
    assert refused.reason == "Its folders name 2 classes, tench, lion; expected one."


def test_a_folder_1000_that_is_no_class_refuses_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "lion/1000/a.jpg", "7/b.jpg", "tench/1/c.jpg")
    assert sorted(s.label for s in class_folder_samples(tmp_path).found) == [0, 7, 291]
    touch(tmp_path / "val", "1000/ILSVRC2012_val_00001359.JPEG", "1/n02129165.JPEG")
    assert sorted(s.label for s in imagenet_samples(tmp_path / "val", "val").found) == [1, 291]


def test_classes_numbered_from_1_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}/a.jpg" for i in range(1, 1001)))
    with pytest.raises(UsageError, match="seem to be numbered from 1; name the folders by synset id"):
        class_folder_samples(tmp_path)
    touch(tmp_path, "0/a.jpg")
    samples = class_folder_samples(tmp_path)
    assert sorted(s.label for s in samples.found) == list(range(1000))
    assert [item.reason for item in samples.refused] == ["1000 is not an index of the 1000 classes; expected 0 to 999."]


def test_missing_images_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        imagenet_samples(tmp_path / "nowhere", "val")
    with pytest.raises(UsageError, match="no images"):
        imagenet_samples(tmp_path, "val")
