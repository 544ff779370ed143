"""Everything that only a GPU can show, in minutes: ``python -m tests.bench.gpu``, or ``make gpu``.

Each step is a process with a time limit, and every figure is written as soon as it is there: a run that is cut off, a
step that hangs and a driver that crashes lose only what was not measured yet. Without a GPU every step runs on a few
images on the processor, so that no mistake waits for the day on which there is a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lowrank_demo.errors import LowRankError, NotWritten, UsageError
from lowrank_demo.runtime.outputs import Output
from lowrank_demo.runtime.stopping import end_as_by_ctrl_c, end_at_once, undisturbed
from tests.bench import command
from tests.bench.__main__ import machine, outcome_text, plain
from tests.helpers.processes import children, kill_tree

LIMITS = {
    "tests": 150.0,
    "decoding": 60.0,
    "arithmetic": 60.0,
    "validation": 80.0,
    "requests": 40.0,
    "c_step": 40.0,
    "training": 90.0,
    "compiled": 80.0,
}
"""The steps in order, and the seconds that each may take."""
_ALL = 530.0
"""Seconds that they may take together."""
STEP = [sys.executable, "-m", "tests.bench.gpu", "--step"]
"""The command of a step, but for its name."""
_ROOT = Path(__file__).parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps; return 0 if all finished, no test failed and the figures were written."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("--only", metavar="STEPS", help=f"some of {','.join(LIMITS)}, separated by commas")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="OUT", help="default: gpu.json")
    parser.add_argument("--step", choices=list(LIMITS), help=argparse.SUPPRESS)
    return command.run(parser, _run_all, argv)


def _run_all(args: argparse.Namespace) -> int:
    if args.step:
        return _measure(args.step)
    chosen: list[str] = args.only.split(",") if args.only else list(LIMITS)
    unknown = sorted(set(chosen) - set(LIMITS))
    if unknown:
        raise UsageError(f"--only names {unknown[0]!r}; expected some of {', '.join(LIMITS)}.")
    report = _Report(Output.checked(args.json))
    end_as_by_ctrl_c()
    try:
        print(report.machine, flush=True)
        until = time.monotonic() + _ALL
        for name in chosen:
            report.run(name, until)
    finally:
        end_at_once()
    return 0 if report.written and all(step["status"] == "done" for step in report.steps.values()) else 1


class _Report:
    """What the steps gave, in a file that is replaced as soon as there is more to say."""

    def __init__(self, output: Output) -> None:
        self.machine = machine()
        self.steps: dict[str, dict[str, Any]] = {}
        self.written = True
        """Whether the file could be written each time."""
        self._output = output

    def run(self, name: str, until: float) -> None:
        """Run one step, which is over at that time of the monotonic clock at the latest."""
        step: dict[str, Any] = {"status": "running", "outcomes": []}
        self.steps[name] = step
        began = time.monotonic()
        self._write()
        try:
            step["status"] = _run(name, min(LIMITS[name], until - began), step["outcomes"], self._write)
        except KeyboardInterrupt:
            step["status"] = "stopped"
            raise
        finally:
            step["seconds"] = round(time.monotonic() - began, 1)
            print(f"{name}: {step['status']}, {step['seconds']} s", flush=True)
            self._write()

    def _write(self) -> None:
        report = {"date": datetime.date.today().isoformat(), "machine": self.machine, "steps": self.steps}
        try:
            self._output.write(json.dumps(report, indent=1))
        except NotWritten as error:
            # The figures are printed, too: measuring goes on.
            if self.written:
                print(f"gpu: {error}", file=sys.stderr, flush=True)
            self.written = False


def _run(name: str, seconds: float, outcomes: list[Any], on_outcome: Callable[[], None]) -> str:
    """Run one step in a process of its own for at most so many seconds; return how it ended."""
    if seconds <= 0:
        return "left out: the time for all steps is over"
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [*STEP, name],
            cwd=_ROOT,
            env=os.environ | {"PYTHONFAULTHANDLER": "1"},  # says where a library aborted
            stdin=subprocess.PIPE,  # nothing is written: its end tells the step that this process is gone
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )

        def kill() -> None:
            # With all that it started: what still runs would disturb the next steps.
            if process.returncode is None:
                kill_tree(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), kill()))
        timer.daemon = True
        timer.start()
        assert process.stdout is not None
        try:
            for line in process.stdout:
                text, outcome = _read(line)
                print(f"  {text}", flush=True)
                outcomes.append(outcome)
                on_outcome()
            process.wait()
        finally:
            with undisturbed():  # make and timeout both send a signal
                timer.cancel()
                kill()
                process.wait()
        if late.is_set():
            return f"cut off after {seconds:.3g} s"
        if process.returncode:
            errors.seek(0)
            return f"exit code {process.returncode}: {errors.read().strip()[-3000:]}"
    return "done"


def _read(line: str) -> tuple[str, object]:
    """Return what a step printed as text and as data; a step may also print plain text."""
    try:
        text, outcome = json.loads(line)
    except ValueError:
        return line.rstrip(), line.rstrip()
    return text, outcome


def _measure(name: str) -> int:
    """Run a step in this process; print each outcome as one line of JSON, and return the exit code."""
    threading.Thread(target=_end_with_the_runner, daemon=True, name="watches the runner").start()
    from tests.bench import gpu_steps

    try:
        for outcome in gpu_steps.STEPS[name]():
            print(json.dumps([outcome_text(outcome), plain(outcome)]), flush=True)
    except LowRankError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _end_with_the_runner() -> None:
    """Wait for the end of standard input, which the runner holds open; then end this step with all that it started."""
    os.read(0, 1)
    for child in children(os.getpid()):
        kill_tree(child)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
