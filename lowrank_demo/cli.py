"""The command line: ``python -m lowrank_demo``, or ``lowrank-demo`` where the package is installed.

Heavy packages are imported only by the commands that need them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .commands import app, data, models, publish, train, validate
from .errors import LowRankError
from .runtime.stopping import end_as_by_ctrl_c, end_on_the_spot
from .runtime.terminal import print_anything


def main(argv: Sequence[str] | None = None, program: str = "lowrank-demo") -> int:
    """Run one command.

    Args:
        argv: The arguments; None takes those of the process.
        program: What the usage messages call the program.

    Returns:
        The exit code: 0 success; 1 wrong usage, or a named file is missing or cannot be written; 2 bad data, a full
        disk, too little memory or a failed run; 3 weights or the Hub not available; 130 stopped.
    """
    print_anything()
    end_as_by_ctrl_c()
    try:
        return _run(argv, program)
    finally:
        end_on_the_spot()


def _run(argv: Sequence[str] | None, program: str) -> int:
    try:
        args = _parser(program).parse_args(argv)
    except SystemExit as stop:
        # For a wrong option argparse exits with 2, which here means bad data.
        return 1 if stop.code else 0
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        code = command(args)
        sys.stdout.flush()
        return code
    except LowRankError as error:
        print(f"lowrank_demo: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print("lowrank_demo: There is not enough memory; close other programs or ask for less.", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt as stop:
        print(f"\nlowrank_demo: {str(stop) or 'stopped'}.", file=sys.stderr)
        return 130


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Low-rank AlexNet models (CVPR 2020): list, classify, build data sets, validate, train, publish.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (app, models, data, validate, train, publish):
        command.add(commands)
    return parser
