"""Read a text file that lists images and their classes, as timm, Kaggle and others write it."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

from ..errors import UsageError
from ..runtime.files import must_exist
from ..runtime.schema import shown
from .imagenet import is_number, label_of
from .samples import Sample, Samples, by_folder, numbered_from_1
from .walk import EXTENSIONS, image_files, listed

_EXTENSION = "|".join(map(re.escape, sorted(EXTENSIONS)))
_PATH_FIRST = re.compile(rf"(.+(?:{_EXTENSION}))(\s*[,;]|\s)(.+)", re.IGNORECASE)
"""A line of a labels file whose path has an extension; the path may hold blanks and commas."""


def listed_samples(folder: Path, labels_file: Path) -> Samples:
    """Return the images that a text file lists.

    Args:
        folder: The paths in the list are relative to it.
        labels_file: Each line holds a path, a space, tab or comma, and a class (index, synset id or name). The path
            may lack its extension, or be only a file's name if just one file has it. Further columns, a first line of
            headings, empty lines and lines that start with ``#`` are skipped.

    Returns:
        The images in the order of the list. Those whose class or file is not clear are refused.

    Raises:
        UsageError: The folder or the file does not exist, or the file cannot be read or lists no image with a class,
            or its classes are numbered from 1, or a line has another form; the message names the line.
    """
    must_exist(folder, "a folder with images")
    must_exist(labels_file, "a file with lines of 'image class'")
    try:
        lines = _text(labels_file.read_bytes()).splitlines()
    except OSError as error:
        raise UsageError(f"{labels_file} cannot be read ({error.strerror}); expected a text file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{labels_file} cannot be read as text; expected lines of 'image class'.") from error
    find = _Finder(folder)
    samples: list[Sample] = []
    without: list[tuple[PurePath, str]] = []
    numbered: set[int] = set()
    first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        maybe_heading, first = first, False
        try:
            name, *columns = _fields(line)
        except csv.Error as error:
            raise _bad_line(number, line, labels_file, str(error)) from error
        if not columns:
            raise _bad_line(number, line, labels_file, "There is only one column.")
        if is_number(columns[0]):
            numbered.add(int(columns[0]))
        try:
            samples.append(Sample(find(name), _label(columns)))
        except UsageError as error:
            if not (maybe_heading and _is_heading(name, find)):
                without.append((folder / name, str(error)))
    if numbered_from_1(numbered):
        raise UsageError(
            f"{labels_file.name} has a class 1000 but no class 0, so the classes seem to be numbered from 1; write "
            "synset ids, as 'python -m lowrank_demo classes' lists them."
        )
    refused = by_folder(without)
    if not samples:
        raise UsageError(
            f"{labels_file.name} lists no images with a class; expected lines of 'image class'.{listed(refused)}"
        )
    return Samples(samples, refused)


def _text(data: bytes) -> str:
    """Decode a text file: UTF-8, or UTF-16 as Windows writes it with a byte order mark."""
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _fields(line: str) -> list[str]:
    """Split a line into the path, the class and further columns."""
    line = line.strip()
    if "\t" in line:
        return [column.strip() for column in line.split("\t")]
    with_extension = _PATH_FIRST.fullmatch(line)
    if with_extension:
        path, separator, rest = with_extension.groups()
        return [path, *(_columns(rest, separator.strip()) if separator.strip() else [rest.strip()])]
    separator = next((mark for mark in ",;" if mark in line), "")
    return _columns(line, separator) if separator else line.rsplit(maxsplit=1)


def _columns(text: str, separator: str) -> list[str]:
    return [column.strip() for column in next(csv.reader([text], delimiter=separator, skipinitialspace=True))]


def _bad_line(number: int, line: str, file: Path, reason: str) -> UsageError:
    return UsageError(
        f"Line {number} of {file.name} is {shown(line)}; expected an image's path and its class. {reason}"
    )


def _is_heading(name: str, find: Callable[[str], Path]) -> bool:
    """Return whether a first line without a class is one of headings: its first column names no image."""
    if PurePath(name).suffix.lower() in EXTENSIONS:
        return False
    try:
        return not os.path.isfile(find(name))  # noqa: PTH113 - Path.is_file raises for a name that is too long
    except UsageError:  # it fits several
        return False


def _label(columns: Sequence[str]) -> int:
    """Return the label that the columns after the path state.

    Raises:
        UsageError: They state no class, or several.
    """
    # Kaggle's second column continues with boxes: "n03995372 85 1 499 272".
    boxes = re.fullmatch(r"(n\d{8})(?: \d+)+", columns[0])
    label = label_of(boxes[1] if boxes else columns[0])
    for other in columns[1:]:
        try:
            differs = not is_number(other) and label_of(other) != label
        except UsageError:
            continue  # not a class: a note; a number may be a fold, a size or a score
        if differs:
            raise UsageError(f"It names two classes, {columns[0]} and {other}.")
    return label


class _Finder:
    """Finds a listed image in a folder by its path, by its path without extension, or by its name alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: Mapping[str, Sequence[Path]] | None = None

    def __call__(self, name: str) -> Path:
        """Return the path, or a path that does not exist if there is no such file.

        Raises:
            UsageError: Several files fit.
        """
        path = self._folder / name
        if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
            return path
        fitting = self._known().get(_comparable(name), ())
        if len(fitting) > 1:
            raise UsageError(f"It fits {fitting[0]} and {fitting[1]}; add its folder or extension.")
        return fitting[0] if fitting else path

    def _known(self) -> Mapping[str, Sequence[Path]]:
        if self._index is None:
            index: defaultdict[str, list[Path]] = defaultdict(list)
            for path in image_files(self._folder).files:
                below = path.relative_to(self._folder)
                for key in {below.as_posix(), below.with_suffix("").as_posix(), path.stem, path.name}:
                    index[_comparable(key)].append(path)
            self._index = index
        return self._index


def _comparable(name: str) -> str:
    """Return a path in one form for all systems: Windows writes backslashes, macOS splits off accents."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))
