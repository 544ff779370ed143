"""Thousands of mutated JPEG and PNG files: no crash, no hang."""

from __future__ import annotations

import json

import pytest

from tests.helpers.commands import run_module
from tests.helpers.slack import SLACK


@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 500), pytest.param(2, 10_000, marks=[pytest.mark.long, pytest.mark.timeout(1500)])],
)
def test_mutated_files(seed: int, count: int) -> None:
    done = run_module("tests.faults.fuzz", str(seed), str(count))
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["files"] == count
    assert found["slowest"] < 5 * SLACK
    assert 0.05 * count < found["refused"] < 0.95 * count, "some are damaged beyond reading, some are not"
