"""The command line, ``python -m lowrank_demo``. Heavy packages are imported only by the commands that need them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .commands import data, models, publish, train, validate
from .errors import LowRankError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 usage, 2 bad data, 3 weights missing, 130 stopped."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        # For a wrong option argparse exits with 2, which here means bad data.
        return 1 if stop.code else 0
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except LowRankError as error:
        print(f"lowrank_demo: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt as stop:
        print(f"\nlowrank_demo: {str(stop) or 'stopped'}.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lowrank_demo",
        description="Low-rank AlexNet models (CVPR 2020): list, classify, build data sets, validate, train, publish.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (models, data, validate, train, publish):
        command.add(commands)
    return parser
