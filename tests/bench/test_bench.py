"""The bench as its user runs it: figures with ratios, and a file for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.bench import data, lc, material
from tests.bench.measure import Unmeasured
from tests.helpers.commands import run_module


@pytest.mark.timeout(600)
def test_figures_and_json(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    done = run_module("tests.bench", "--only", "photo,memory", "--images", "64", "--many", "64", "--json", str(output))
    assert done.returncode == 0, done.stderr
    assert "one photo, median" in done.stdout
    report = json.loads(output.read_text())
    found = {one["what"]: one for one in report["outcomes"]}
    middle, late = found["one photo, median"], found["one photo, 95th percentile"]
    for photo in (middle, late):
        assert photo["ratio"] == pytest.approx(photo["measured"] / photo["against"])
        assert 0.5 < photo["ratio"] < 5
    assert middle["measured"] < late["measured"]
    nine = found["peak memory, nine models, 64 images"]
    assert nine["measured"] > 1, "nine float32 models alone are 0.9 GB"


def test_the_steps_that_are_compared_do_the_same() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    weight = lc.layer_like(96)
    ours, theirs = lc.c_steps(weight, lc.lambda_at(weight, 24), linalg.svd)
    low = ours()
    torch.testing.assert_close(low, torch.from_numpy(theirs()), atol=1e-5, rtol=1e-4)
    assert torch.linalg.matrix_rank(low, rtol=1e-3) == 24


def test_building_without_tensorpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    *alone, missing = data.build(tmp_path, material.jpegs(4), 8)
    assert [outcome.what for outcome in alone] == ["build-lmdb --decode-all", "build-lmdb"]
    assert missing == Unmeasured("build-lmdb against tensorpack's LMDBSerializer", "put tensorpack 0.9.8 on PYTHONPATH")


def test_wrong_options() -> None:
    for arguments, sentence in (
        (("--only", "speed"), "names 'speed'; expected some of compute"),
        (("--images", "3"), "--images is 3; expected at least 64"),
        (("--json", "nowhere/out.json"), "There is no folder"),
        (("--json", "tests"), "tests is a folder; expected the name of a file"),
        (("--speed",), "unrecognized arguments"),
    ):
        done = run_module("tests.bench", *arguments)
        assert done.returncode == 1
        assert sentence in done.stderr
