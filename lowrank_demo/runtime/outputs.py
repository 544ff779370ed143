"""Outputs that a user names: checked before long work begins, written without replacing devices, pipes or links."""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import NotWritten, UsageError
from .files import has_long_name, temporary_of, write_synced

STDOUT = 1


@dataclass(frozen=True)
class Output:
    """A place for one text."""

    name: str
    """As the user wrote it."""
    place: Path | int
    """A file, device or FIFO; or the open descriptor that ``-``, ``/dev/stdout`` or a shell's ``>(…)`` means."""

    @property
    def is_file(self) -> bool:
        """Whether the text replaces a regular file, or makes one."""
        return isinstance(self.place, Path) and not _is_special(self.place)

    @classmethod
    def checked(cls, path: Path) -> Output:
        """Return the place that a path names.

        Raises:
            UsageError: Nothing can be written there.
        """
        if has_long_name(path):
            raise _refusal(path, "File name too long")
        descriptor = STDOUT if str(path) == "-" else _descriptor(path)
        if descriptor is not None:
            try:
                os.write(descriptor, b"")
            except OSError as error:
                raise _refusal(path, error.strerror) from error
            return cls(str(path), descriptor)
        if _is_special(path):
            if not os.access(path, os.W_OK):
                raise _refusal(path, "Permission denied")
            return cls(str(path), path)
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder} for {path.name}; create it first.")
        return cls(str(path), output_file(path))

    def write(self, text: str) -> None:
        """Write the text, as UTF-8. A regular file is replaced once the new one is complete and on the disk.

        Raises:
            NotWritten: The place took nothing, or only a part.
        """
        # A file's name in another encoding is the only text that UTF-8 cannot encode.
        data = text.encode("utf-8", "backslashreplace")
        try:
            if isinstance(self.place, int):
                # Keep the order: what was printed earlier goes out first.
                sys.stdout.flush()
                _write_all(self.place, data)
            elif _is_special(self.place):
                with self.place.open("wb", buffering=0) as file:
                    _write_all(file.fileno(), data)
            else:
                write_synced(self.place, data)
        except OSError as error:
            raise NotWritten(f"{self.name} could not be written ({error.strerror}).") from error


def output_file(path: Path) -> Path:
    """Return where the regular file that a path names is, or will be: symbolic links are followed.

    A missing folder is made.

    Raises:
        UsageError: It cannot be written there, or what is there is not a regular file.
    """
    try:
        target = path.resolve()
        if has_long_name(temporary_of(target)):
            raise _refusal(path, "File name too long")
        if target.is_dir():
            raise UsageError(f"{path} is a folder; expected the name of a file.")
        if _is_special(target):
            raise UsageError(f"{path} is a device or a pipe; expected the name of a file.")
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links, before Python 3.13
        raise _refusal(path, getattr(error, "strerror", None) or "its links lead nowhere") from error
    check_folder(target.parent, path)
    return target


def check_folder(folder: Path, output: Path) -> None:
    """Make sure that files can be made in a folder, by making one: permissions alone do not tell.

    Args:
        folder: The folder; it is made if it is missing.
        output: What is to be written there, for the message.

    Raises:
        UsageError: No file can be made there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(b" ")
    except OSError as error:
        raise _refusal(output, error.strerror) from error


def _refusal(path: Path, reason: str | None) -> UsageError:
    return UsageError(f"{path} cannot be written ({reason}); choose another place, or free space there.")


def _is_special(path: Path) -> bool:
    """Return whether a device, FIFO or socket is there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path such as ``/dev/stdout`` or ``/dev/fd/63`` names."""
    for _ in range(40):  # as many links as Linux follows
        folder = os.path.realpath(path.parent)
        if re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}/(task/\d+/)?fd", folder) and re.fullmatch(r"\d+", path.name):
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder, path.readlink())
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
