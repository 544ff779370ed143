"""Standard output and standard error: no text fails to be printed, and a stream that takes no more is met once."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from ..errors import NotWritten


class _Stream(io.FileIO):
    """A standard stream's descriptor.

    Args:
        descriptor: 1 or 2.
        on_failure: Called with the error of a write. What was to be written is dropped, or what it raises is raised.
    """

    def __init__(self, descriptor: int, on_failure: Callable[[OSError], None]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._on_failure = on_failure

    def write(self, data: Any, /) -> int:
        try:
            written: int | None = super().write(data)
            if written is None:  # a pipe that does not wait, and is full
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return written
        except OSError as error:
            self._on_failure(error)
            return memoryview(data).nbytes


def print_anything() -> None:
    r"""Make printing safe; call it once, before anything is printed.

    What the encoding of the output lacks is escaped, as in ``\u03bb``: names of files, in any encoding, and texts of
    this program are printed to terminals and pipes of any other. A stream that the caller has closed takes what is
    printed and drops it. So does standard error when it fails, on a full disk or a terminal that is gone: progress and
    messages are worth less than the work. A standard output that fails raises :class:`NotWritten`, or BrokenPipeError
    where nobody reads on, and drops what follows.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            # Else the next file that is opened gets its number, and child processes find none at all.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            stream = os.fdopen(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper) and descriptor:
            stream.reconfigure(errors="backslashreplace")
            # Not one that a caller of this package has put in its place, nor the console of Windows.
            if stream is getattr(sys, f"__{name}__") and sys.platform != "win32":
                setattr(sys, name, _safe(stream, _discard_output if descriptor == 1 else lambda _: None))


def _safe(stream: io.TextIOWrapper, on_failure: Callable[[OSError], None]) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(stream.fileno(), on_failure)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


def _discard_output(error: OSError) -> None:
    """Say that standard output takes no more, and drop what Python would otherwise try to write again as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        raise error
    raise NotWritten(f"The output could not be written ({error.strerror}).") from error
