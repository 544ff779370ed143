"""The bench's commands end as the product's do: with the same exit codes, and a sentence instead of a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from lowrank_demo.errors import LowRankError


def run(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int], argv: Sequence[str] | None = None
) -> int:
    """Run a command.

    Args:
        parser: Reads the arguments; the last part of its ``prog`` begins each message.
        work: Returns the exit code.
        argv: The arguments; None takes those of the process.

    Returns:
        The exit code.
    """
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:
        # For a wrong option argparse exits with 2, which in the product means bad data.
        return 1 if stop.code else 0
    name = parser.prog.rpartition(".")[2]
    try:
        return work(args)
    except LowRankError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(f"\n{name}: {str(stop) or 'stopped'}.", file=sys.stderr)
        return 130
