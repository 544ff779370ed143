"""``make gpu`` on a processor: every step runs, every figure is written, and a step that takes too long is cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import gpu, gpu_steps

FIGURES = {
    "decoding": "decoding, shortest edge 640, pillow",
    "arithmetic": "scheme 2 v5 alone, fp32, one image",
    "validation": "validation of nine models, ",
    "requests": "eight photos in one drop",
    "c_step": "C step of ",
    "training": "training scheme 2 v5, bf16, with decoding",
    "compiled": "scheme 2 v5 alone, fp32, 1 images a batch",
}


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


def test_a_step_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"
    monkeypatch.setenv("LOWRANK_THREADS", "none")
    assert gpu.main(["--only", "requests", "--json", str(output)]) == 1
    assert "LOWRANK_THREADS" in json.loads(output.read_text())["steps"]["requests"]["status"]


def test_tests_that_do_not_pass_fail_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k no_test_has_this_name")
    assert gpu.main(["--only", "tests", "--json", str(output)]) == 1
    assert "did not pass" in json.loads(output.read_text())["steps"]["tests"]["status"]


def test_an_unknown_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--only", "speed"]) == 1
    assert "names 'speed'; expected some of tests, decoding" in capsys.readouterr().err
