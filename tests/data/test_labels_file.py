"""Text files that list images and their classes."""

from pathlib import Path

import pytest

from lowrank_demo.data.labels_file import listed_samples
from lowrank_demo.data.samples import Sample
from lowrank_demo.errors import UsageError
from tests.helpers.paths import touch


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
