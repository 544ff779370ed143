"""What becomes of tests is told while others still run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowrank_demo.errors import DataError
from tests.bench import gpu_steps
from tests.bench.measure import Finding, Note

TESTS = """
import os, time
from pathlib import Path
import pytest

def test_ends():
    print("a figure")

def test_fails():
    assert Path("/nowhere").exists(), "why"

def test_skipped():
    pytest.skip("what is missing")

@pytest.fixture
def broken():
    raise ValueError("no fixture")

def test_error(broken):
    pass

def test_waits():
    while not Path(os.environ["GO"]).exists():
        time.sleep(0.01)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1", "--dist", "loadscope"]], ids=["alone", "xdist"])
def test_what_becomes_of_a_test_is_told_at_once(
    workers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    monkeypatch.setenv("GO", str(go))
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_left_out.py").write_text("import pytest; pytest.importorskip('nonesuch')")
    found: dict[str, list[str]] = {}
    seconds: list[str] = []

    def listen() -> None:
        for outcome in gpu_steps.streamed(["--timeout=30", *workers, str(tmp_path)]):
            if isinstance(outcome, Finding):
                seconds.append(outcome.what)
            elif isinstance(outcome, Note):
                found.setdefault(outcome.what, []).append(outcome.text)
            if "test_waits" in found:  # it waits for this, and all before it has been told
                go.touch()

    with pytest.raises(DataError, match=r"The tests marked gpu did not pass: (.|\n)*2 skipped, 1 error in"):
        listen()
    assert found["test_ends"] == ["begins", "a figure"]
    assert found["test_waits"] == ["begins"]
    assert seconds == ["test_ends", "test_fails", "test_skipped", "test_error", "test_waits"]
    assert "AssertionError: why" in found["test_fails failure"][0]
    assert "ValueError: no fixture" in found["test_error error"][0]
    assert found["test_skipped skipped"] == ["what is missing"]
    assert any("nonesuch" in texts[0] for what, texts in found.items() if what.endswith("test_left_out.py skipped"))
