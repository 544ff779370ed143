"""Every kind of file that can be dropped: the right answer or one sentence, quickly, and the next photo is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.files import Case, cases
from tests.helpers.commands import run_module
from tests.helpers.photos import photo_path
from tests.helpers.slack import SLACK

CASES = cases()
SECONDS, MEGABYTES = 2.0, 300.0


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What one process said to all the files, one after another, by the case's name."""
    folder = tmp_path_factory.mktemp("faults")
    paths: list[Path] = []
    for number, case in enumerate(CASES):
        # Whatever is in it, the file is called a photo.
        path = folder / f"{number:03}.jpg"
        path.write_bytes(case.make())
        paths.append(path)
    names = folder / "names.txt"
    names.write_text("\n".join(map(str, paths)))
    done = run_module(
        *("tests.faults.worker", str(photo_path("lion.jpg")), str(names)), LOWRANK_CACHE_DIR=str(folder / "cache")
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"ended after {len(lines) - 1} files: {done.stderr[-2000:]}"
    found = {case.name: line for case, line in zip(CASES, lines[1:], strict=True)}
    return {"": lines[0], **found}


def test_there_are_enough_and_none_twice() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_file(case: Case, outcomes: dict[str, dict]) -> None:
    outcome = outcomes[case.name]
    assert outcome["next"], "the photo after it is classified as before"
    assert outcome["seconds"] < SECONDS * SLACK
    assert outcome["grown_mb"] < MEGABYTES
    assert outcome["refused"] == (case.expected == "refusal"), outcome["said"]
    if case.expected == "answer":
        assert outcomes[""]["good"] in outcome["said"], "among the five likeliest"
    if case.expected == "some answer":
        assert len(set(outcome["said"])) == 5
    if outcome["refused"]:
        sentence = outcome["said"]
        assert sentence.endswith(".")
        assert "expected" in sentence or "make it smaller" in sentence
        assert "Traceback" not in sentence
        assert "/" not in sentence, "no path of the server"
