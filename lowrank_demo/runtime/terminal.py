"""Standard output and standard error, made so that no text fails to be printed."""

from __future__ import annotations

import io
import os
import sys


def print_anything() -> None:
    r"""Escape what the encoding of the output lacks, as in ``\u03bb``, instead of raising UnicodeEncodeError.

    Names of files, in any encoding, and texts of this program are printed to terminals and pipes of any other. A
    stream that the caller has closed takes what is printed and drops it.
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


def discard_output() -> None:
    """Drop what could not be written to standard output, which Python would otherwise try again as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
