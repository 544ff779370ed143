"""``make gpu`` on a processor: every step runs, every figure is written, and a step that takes too long is cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bench import gpu, gpu_steps
from tests.helpers.paths import ROOT

FIGURES = {
    "decoding": "decoding, shortest edge 640, pillow",
    "arithmetic": "scheme 2 v5 alone, fp32, one image",
    "validation": "validation of nine models, ",
    "requests": "eight photos in one drop",
    "c_step": "C step of ",
    "training": "training scheme 2 v5, bf16, with decoding",
    "compiled": "scheme 2 v5 alone, fp32, 1 images a batch",
}


# The runner and its steps without the libraries that take seconds to load. The step "tests" hangs, and so does a child
# in a session of its own, like torchrun's workers; the step "requests" prints the report as it is just then.
LIGHT = """
import os, subprocess, sys, time, types
from pathlib import Path
from tests.bench import gpu

def hang():
    worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
    print(os.getpid(), worker.pid, flush=True)
    time.sleep(600)
    yield

def show():
    print(" ".join(Path(os.environ["REPORT"]).read_text().split()), flush=True)
    yield from ()

sys.modules["tests.bench.gpu_steps"] = types.SimpleNamespace(STEPS={"tests": hang, "requests": show})
gpu.machine = lambda: "a machine"
gpu.STEP = [sys.executable, __file__, "--step"]
gpu.LIMITS["tests"] = float(os.environ["SECONDS_OF_TESTS"])
sys.exit(gpu.main())
"""


class Light:
    """Runs the light runner, with a report in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._script = folder / "light.py"
        self._script.write_text(LIGHT)
        self.output = folder / "gpu.json"

    def start(self, steps: str, *, seconds: float = 600, output: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self._script, "--only", steps, "--json", output or self.output],
            env=os.environ | {"PYTHONPATH": str(ROOT), "REPORT": str(self.output), "SECONDS_OF_TESTS": str(seconds)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def steps(self) -> dict[str, Any]:
        return json.loads(self.output.read_text())["steps"]


@pytest.fixture
def light(tmp_path: Path) -> Light:
    return Light(tmp_path)


def runs(pid: int) -> bool:
    """Return whether the process has not ended, or is not dead while nobody asks for its exit code."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def hanging(runner: subprocess.Popen[str]) -> list[int]:
    """Return the processes of the step that hangs, once they run."""
    assert runner.stdout is not None
    assert runner.stdout.readline() == "a machine\n"
    pids = [int(pid) for pid in runner.stdout.readline().split()]
    assert all(map(runs, pids))
    assert len(pids) == 2
    return pids


@pytest.mark.timeout(600)
def test_every_step_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"
    # On two slow processors; that a step ends in time on a GPU's machine is not what this test asks.
    monkeypatch.setattr(gpu, "LIMITS", dict.fromkeys(gpu.LIMITS, 300.0))
    assert gpu.main(["--only", ",".join(FIGURES), "--json", str(output)]) == 0
    report = json.loads(output.read_text())
    assert list(report["steps"]) == list(FIGURES)
    assert set(FIGURES) | {"tests"} == set(gpu.LIMITS) == set(gpu_steps.STEPS)
    for name, figure in FIGURES.items():
        step = report["steps"][name]
        assert step["status"] == "done"
        assert any(figure in outcome["what"] for outcome in step["outcomes"]), step


def test_a_step_that_takes_too_long_is_cut_off_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "gpu.json"
    monkeypatch.setitem(gpu.LIMITS, "training", 0.5)
    assert gpu.main(["--only", "training,c_step", "--json", str(output)]) == 1
    steps = json.loads(output.read_text())["steps"]
    assert steps["training"]["status"] == "cut off after 0.5 s"
    assert steps["c_step"]["status"] == "done"


def test_cutting_a_step_off_ends_what_it_started_in_other_sessions(light: Light) -> None:
    runner = light.start("tests,requests", seconds=3)
    pids = hanging(runner)
    runner.communicate()
    assert runner.returncode == 1
    assert {name: step["status"] for name, step in light.steps().items()} == {
        "tests": "cut off after 3 s",
        "requests": "done",
    }
    assert not any(map(runs, pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_runner_and_what_it_started(light: Light, number: signal.Signals) -> None:
    runner = light.start("tests,requests")
    pids = hanging(runner)
    runner.send_signal(number)
    _, errors = runner.communicate()
    assert runner.returncode == 130
    assert errors == "\ngpu: stopped.\n"
    assert {name: step["status"] for name, step in light.steps().items()} == {"tests": "stopped"}
    assert not any(map(runs, pids))


def test_a_step_ends_when_its_runner_was_killed(light: Light) -> None:
    runner = light.start("tests")
    pids = hanging(runner)
    runner.kill()
    runner.communicate()
    until = time.monotonic() + 30
    while any(map(runs, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(runs, pids))


def test_the_report_is_written_before_the_first_outcome(light: Light) -> None:
    runner = light.start("requests")
    runner.communicate()
    (shown,) = light.steps()["requests"]["outcomes"]
    before = json.loads(shown)
    assert before["date"]
    assert before["machine"] == "a machine"
    assert before["steps"] == {"requests": {"status": "running", "outcomes": []}}


def test_a_report_that_cannot_be_written_is_said_once_and_the_steps_go_on(light: Light) -> None:
    light.output.write_text("")
    runner = light.start("requests", output=Path("/dev/full"))
    printed, errors = runner.communicate()
    assert runner.returncode == 1
    assert errors == "gpu: /dev/full could not be written (No space left on device).\n"
    assert "requests: done" in printed


def test_a_report_without_a_place_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "machine", pytest.fail)
    assert gpu.main(["--only", "c_step", "--json", str(tmp_path / "nowhere" / "gpu.json")]) == 1
    assert capsys.readouterr().err == f"gpu: There is no folder {tmp_path}/nowhere for gpu.json; create it first.\n"


def test_a_step_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"
    monkeypatch.setenv("LOWRANK_THREADS", "none")
    assert gpu.main(["--only", "requests", "--json", str(output)]) == 1
    status = json.loads(output.read_text())["steps"]["requests"]["status"]
    assert status.startswith("exit code 1: ")
    assert "LOWRANK_THREADS" in status
    assert "Traceback" not in status


def test_tests_that_do_not_pass_fail_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k no_test_has_this_name")
    assert gpu.main(["--only", "tests", "--json", str(output)]) == 1
    status = json.loads(output.read_text())["steps"]["tests"]["status"]
    assert status.startswith("exit code 2: ")
    assert "The tests marked gpu did not pass: " in status
    assert "deselected" in status, "pytest's own last line"
    assert "Traceback" not in status


def test_an_unknown_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--only", "speed"]) == 1
    assert "names 'speed'; expected some of tests, decoding" in capsys.readouterr().err
