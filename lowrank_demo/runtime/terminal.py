"""Standard output and standard error: any text can be printed, and a stream that takes no more fails only once."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from ..errors import NotWritten


class _Text(io.TextIOWrapper):
    """A standard stream.

    Writing goes through buffers in C alone. With a raw stream in Python, a signal between two instructions could lose
    count of what was written, and the buffer would write it again.

    Args:
        stream: Python's own.
        descriptor: 1 or 2.
        on_failure: Called with the error of a write, once the text has been dropped.
    """

    def __init__(self, stream: io.TextIOWrapper, descriptor: int, on_failure: Callable[[OSError], None]) -> None:
        super().__init__(
            io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False)),
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering or stream.write_through,
        )
        self._descriptor = descriptor
        self._on_failure = on_failure

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        kept, nowhere = os.dup(self._descriptor), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._descriptor)
        super().flush()  # what the buffers hold
        os.dup2(kept, self._descriptor)
        os.close(kept)
        os.close(nowhere)
        self._on_failure(error)


def print_anything() -> None:
    r"""Make printing safe; call it once, before anything is printed.

    Characters that the output's encoding lacks are escaped, as in ``\u03bb``, so that file names and this program's
    texts can be printed to any terminal or pipe. A stream that the caller has closed takes what is printed and drops
    it. So does standard error when it fails, on a full disk or a terminal that is gone: progress and messages are worth
    less than the work. A standard output that fails raises :class:`NotWritten`, or BrokenPipeError if nobody reads on,
    and drops what follows.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            # Otherwise the next file that is opened gets its number, and child processes find none at all.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            stream = os.fdopen(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper) and descriptor:
            stream.reconfigure(errors="backslashreplace")
            # Leave alone a stream that a caller of this package has put in its place, and the Windows console.
            if stream is getattr(sys, f"__{name}__") and sys.platform != "win32":
                setattr(sys, name, _Text(stream, descriptor, _discard_output if descriptor == 1 else lambda _: None))


def _discard_output(error: OSError) -> None:
    """Report that standard output failed, and drop what Python would otherwise try to write again as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        raise error
    raise NotWritten(f"The output could not be written ({error.strerror}).") from error
