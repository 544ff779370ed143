"""Walk folders of images: links are followed, hidden folders left out, and what cannot be entered is listed."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..runtime.words import printable

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif", ".jfif"}
)


_POINTS_BACK = "The link points back to one of its parent folders; remove it."
_DEEPEST = 100
"""Largest number of folders inside each other that are entered."""


@dataclass(frozen=True)
class Refused:
    """An image, or a folder, that was left out, and why."""

    path: Path
    reason: str
    images: int = 1
    """Images left out; 0 for a folder that could not be entered."""


@dataclass(frozen=True)
class Images:
    """The images below a folder."""

    files: Sequence[Path]
    """Sorted by path."""
    refused: Sequence[Refused]
    """Folders that cannot be entered, and links that cannot be followed."""


def is_hidden(name: str) -> bool:
    """Return whether a folder of this name holds what a system or program keeps for itself, such as ``@eaDir``."""
    return name.startswith((".", "@", "#", "$")) or name == "__MACOSX"


def is_image_name(name: str) -> bool:
    """Return whether a file of this name should be an image."""
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def listed(refused: Sequence[Refused], limit: int = 3) -> str:
    """Format the first refusals as the end of a message."""
    parts = [f" {printable(item.path)}: {item.reason}" for item in refused[:limit]]
    return "".join(parts) + (f" And {len(refused) - limit:,} more." if len(refused) > limit else "")


def image_files(folder: Path) -> Images:
    """Find the image files in a folder and its subfolders by their extension. Hidden files and folders are left out.

    A file that two links lead to is found twice, because it is not known here which of its paths states the class.

    Raises:
        UsageError: The folder does not exist.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}; expected a folder with images.")
    files: list[Path] = []
    refused: list[Refused] = []
    _enter(folder, frozenset(), files, refused)
    return Images(sorted(files), refused)


def _enter(folder: Path, above: frozenset[tuple[int, int]], files: list[Path], refused: list[Refused]) -> None:
    """Add what is in a folder. ``above`` identifies the folders that lead to it: a link back would never end."""
    try:
        # A folder's names can be read without the right to enter it; its contents, "." included, cannot.
        found = os.stat(f"{folder}/.")  # noqa: PTH116 - Path drops the dot
        here = (found.st_dev, found.st_ino)
        if here in above:
            refused.append(Refused(folder, _POINTS_BACK, 0))
            return
        if len(above) > _DEEPEST:
            refused.append(Refused(folder, f"It lies {len(above)} folders deep; expected at most {_DEEPEST}.", 0))
            return
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        refused.append(Refused(folder, f"The folder cannot be entered ({error.strerror}).", 0))
        return
    for entry in entries:
        path = folder / entry.name
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if not is_hidden(entry.name):
                refused.append(Refused(path, _why_not(entry, error), int(is_image_name(entry.name))))
            continue
        if stat.S_ISDIR(mode):
            if entry.is_symlink() and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(path)):
                refused.append(Refused(path, _POINTS_BACK, 0))
            elif not is_hidden(entry.name):
                _enter(path, above | {here}, files, refused)
        elif stat.S_ISREG(mode) and is_image_name(entry.name):
            files.append(path)


def _why_not(entry: os.DirEntry[str], error: OSError) -> str:
    if entry.is_symlink() and isinstance(error, FileNotFoundError):
        return "The link is broken: its target does not exist."
    return f"It cannot be read ({error.strerror})."
