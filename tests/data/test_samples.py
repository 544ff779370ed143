"""Finding images and their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from lowrank_demo.data.samples import Sample, class_folder_samples, imagenet_samples, listed_samples
from lowrank_demo.errors import UsageError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


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


def test_labels_file(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("# comment\na b.jpg 7\nsub/c.jpg,n02129165\n\nd.jpg,999\n")
    samples = listed_samples(tmp_path, labels).found
    assert [(s.path.relative_to(tmp_path).as_posix(), s.label) for s in samples] == [
        ("a b.jpg", 7),
        ("sub/c.jpg", 291),
        ("d.jpg", 999),
    ]
    for text, sentence in (
        ("a.jpg 1000", "lists no images with a class; .* 1000 is not an index"),
        ("a.jpg", 'Line 1 of labels.txt is "a.jpg";'),
        ('a.jpg, 1\n"b,2', "Line 2 of labels.txt"),
        ("", "no images"),
        ("x.jpg cat?", '"cat\\?" names none of the 1000 classes'),
        ("a.jpg 1\nb.jpg 1000", "seem to be numbered from 1; write synset ids"),
    ):
        labels.write_text(text)
        with pytest.raises(UsageError, match=sentence):
            listed_samples(tmp_path, labels)
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        listed_samples(tmp_path, tmp_path)
    labels.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"labels\.txt cannot be read as text"):
        listed_samples(tmp_path, labels)
    with pytest.raises(UsageError, match=r"There is no .*none\.txt; expected a file with lines of 'image class'"):
        listed_samples(tmp_path, tmp_path / "none.txt")
    labels.write_text("a.jpg 1")
    with pytest.raises(UsageError, match=r"There is no .*none; expected a folder with images"):
        listed_samples(tmp_path / "none", labels)


def test_missing_images_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        imagenet_samples(tmp_path / "nowhere", "val")
    with pytest.raises(UsageError, match="no images"):
        imagenet_samples(tmp_path, "val")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("\ufeffa.jpg,291\n", 291),
        ("\ufeffa.jpg,291\r\n", 291),
        ("\ufeff# image,class\na.jpg,291\n", 291),
        ("a.jpg,291,lion\n", 291),
        ("a.jpg,291,0.97\n", 291),
        ("a.jpg\t291\n", 291),
        ("a.jpg English springer\n", 217),
        ('a.jpg,"tench, Tinca tinca"\n', 0),
        ("a,291\n", 291),
        ("a 291\n", 291),
        ("ImageId,Class\na,n02129165\n", 291),
        ("ImageId,PredictionString\na,n02129165 85 1 499 272\n", 291),
        ("ImageId,PredictionString\na,n02129165 85 1 499 272 n02129165 1 2 3 4 \n", 291),
        ("filename,label\na.jpg,lion\n", 291),
        ("ImageId,LabelId\na.jpg,291\n", 291),
        ("file_name,wordnet_id\na.jpg,n02129165\n", 291),
        ("id,class_idx\na,291\n", 291),
        ("image label\na.jpg 291\n", 291),
        ("image_id,label,fold\na,291,0\n", 291),
        ("filename,label,width,height\na.jpg,291,500,375\n", 291),
        ("filename;label\na.jpg;lion\n", 291),
        ("a\tsea lion\n", 150),
    ],
)
def test_label_files_as_others_write_them(tmp_path: Path, text: str, label: int) -> None:
    touch(tmp_path, "a.jpg")
    for encoding in ("utf-8", "utf-16") if text.startswith("\ufeff") else ("utf-8",):
        labels = tmp_path / "labels.csv"
        labels.write_bytes(text.removeprefix("\ufeff" if encoding == "utf-16" else "").encode(encoding))
        assert listed_samples(tmp_path, labels).found == [Sample(tmp_path / "a.jpg", label)]


def test_images_are_found_by_their_id(tmp_path: Path) -> None:
    images = touch(tmp_path / "images", "val/ILSVRC2012_val_00000001.JPEG", "x/twice.jpg", "y/twice.png", "a, b.jpg")
    labels = tmp_path / "labels.csv"
    labels.write_text("ImageId,Class\nILSVRC2012_val_00000001,n01751748\nval/ILSVRC2012_val_00000001,65\na, b.jpg,7\n")
    found = listed_samples(images, labels).found
    assert [sample.path.relative_to(images).as_posix() for sample in found] == [
        "val/ILSVRC2012_val_00000001.JPEG",
        "val/ILSVRC2012_val_00000001.JPEG",
        "a, b.jpg",
    ]
    touch(images, "sub/café.jpg")  # accents as one character here, as two in the list
    labels.write_text("sub\\cafe\u0301.jpg,291\n", encoding="utf-8")
    assert [sample.path for sample in listed_samples(images, labels).found] == [images / "sub" / "café.jpg"]
    labels.write_text("twice,7\n")
    with pytest.raises(UsageError, match=r"lists no images with a class; .* It fits .*twice\.jpg and .*twice\.png"):
        listed_samples(images, labels)


def test_lines_without_one_class_are_listed_and_the_rest_is_used(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("a.jpg,unicorn\nb.jpg,unicorn\nc.jpg,291,tench\nd.jpg,crane\nsub/e.jpg,1000\nf.jpg,0\n")
    samples = listed_samples(tmp_path, labels)
    assert samples.found == [Sample(tmp_path / "f.jpg", 0)]
    assert [(item.path, item.images) for item in samples.refused] == [
        (tmp_path, 2),
        (tmp_path, 1),
        (tmp_path, 1),
        (tmp_path / "sub", 1),
    ]
    reasons = [item.reason for item in samples.refused]
    assert '"unicorn" names none of the 1000 classes' in reasons[0]
    assert reasons[1] == "It names two classes, 291 and tench."
    assert "134 (n02012849" in reasons[2]
    assert "1000 is not an index" in reasons[3]
