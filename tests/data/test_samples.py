"""Finding images and their labels."""

from pathlib import Path

import pytest

from lowrank_demo.data.samples import class_folder_samples, imagenet_samples, label_of, listed_samples
from lowrank_demo.errors import DataError, UsageError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_official_flat_val_folder(tmp_path: Path) -> None:
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 2, 3, 50000)]
    touch(tmp_path / "val", *names)
    for folder in (tmp_path, tmp_path / "val"):
        samples = imagenet_samples(folder, "val")
        # From ILSVRC2012's validation ground truth (synsets n01751748, n09193705, n02105855, n02437616).
        assert [sample.label for sample in samples][:3] == [65, 970, 230]
        assert len(samples) == 4


def test_synset_folders(tmp_path: Path) -> None:
    touch(tmp_path / "train", "n01440764/a.JPEG", "n15075141/b.JPEG", "n15075141/note.txt")
    assert [sample.label for sample in imagenet_samples(tmp_path, "train")] == [0, 999]


def test_a_file_outside_the_validation_set_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "cat.jpg")
    with pytest.raises(DataError, match=r"cat\.jpg is not an image of ImageNet"):
        imagenet_samples(tmp_path, "val")


def test_class_named_folders(tmp_path: Path) -> None:
    touch(tmp_path, "lion/1.jpg", "291/2.jpg", "n02129165/3.png", "Golden_Retriever/4.jpg")
    assert sorted(s.label for s in class_folder_samples(tmp_path)) == [207, 291, 291, 291]
    touch(tmp_path, "unicorn/5.jpg")
    with pytest.raises(UsageError, match=r"unicorn/5\.jpg is not in a class folder"):
        class_folder_samples(tmp_path)


def test_labels_file(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("# comment\na b.jpg 7\nsub/c.jpg,n02129165\n\nd.jpg,999\n")
    samples = listed_samples(tmp_path, labels)
    assert [(s.path.relative_to(tmp_path).as_posix(), s.label) for s in samples] == [
        ("a b.jpg", 7),
        ("sub/c.jpg", 291),
        ("d.jpg", 999),
    ]
    for text, sentence in (
        ("a.jpg 1000", "Line 1 of"),
        ("a.jpg", '.txt is "a.jpg";'),
        ("", "no image"),
        ("x.jpg cat?", "Line 1"),
    ):
        labels.write_text(text)
        with pytest.raises(UsageError, match=sentence):
            listed_samples(tmp_path, labels)
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


@pytest.mark.parametrize(("name", "label"), [("1000", None), ("-1", None), ("", None), ("n00000000", None), ("0", 0)])
def test_label_of(name: str, label: int | None) -> None:
    assert label_of(name) == label
