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

from lowrank_demo.errors import UsageError
from lowrank_demo.runtime.files import atomic_write
from tests.bench.__main__ import machine, outcome_text, plain

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
_ROOT = Path(__file__).parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the steps; return 0 if all finished and no test failed, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("--only", metavar="STEPS", help=f"some of {','.join(LIMITS)}, separated by commas")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="OUT", help="default: gpu.json")
    parser.add_argument("--step", choices=list(LIMITS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.step:
        _measure(args.step)
        return 0
    try:
        return _run_all(args.only.split(",") if args.only else list(LIMITS), args.json)
    except UsageError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return error.exit_code


def _run_all(chosen: list[str], output: Path) -> int:
    unknown = sorted(set(chosen) - set(LIMITS))
    if unknown:
        raise UsageError(f"--only names {unknown[0]!r}; expected some of {', '.join(LIMITS)}.")
    report: dict[str, Any] = {"date": datetime.date.today().isoformat(), "machine": machine(), "steps": {}}
    print(report["machine"], flush=True)
    until = time.monotonic() + _ALL
    for name in chosen:
        step: dict[str, Any] = {"status": "running", "outcomes": []}
        report["steps"][name] = step
        began = time.monotonic()
        left = min(LIMITS[name], until - began)
        step["status"] = _run(name, left, step["outcomes"], lambda: _write(output, report))
        step["seconds"] = round(time.monotonic() - began, 1)
        print(f"{name}: {step['status']}, {step['seconds']} s", flush=True)
        _write(output, report)
    return 0 if all(step["status"] == "done" for step in report["steps"].values()) else 1


def _run(name: str, seconds: float, outcomes: list[Any], on_outcome: Callable[[], None]) -> str:
    """Run one step in a process of its own for at most so many seconds; return how it ended."""
    if seconds <= 0:
        return "left out: the time for all steps is over"
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.gpu", "--step", name],
            cwd=_ROOT,
            env=os.environ | {"PYTHONFAULTHANDLER": "1"},  # says where a library aborted
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )

        def kill() -> None:
            # With all that it started: what still runs would disturb the next steps.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), kill()))
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
            timer.cancel()
            kill()
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


def _measure(name: str) -> None:
    """Run a step in this process; print each outcome as one line of JSON."""
    from tests.bench import gpu_steps

    for outcome in gpu_steps.STEPS[name]():
        print(json.dumps([outcome_text(outcome), plain(outcome)]), flush=True)


def _write(output: Path, report: dict[str, Any]) -> None:
    with atomic_write(output) as temporary:
        temporary.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
