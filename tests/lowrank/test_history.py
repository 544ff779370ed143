"""A run's rank history: read whole, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_demo.errors import DataError
from lowrank_demo.lowrank.history import read_history
from tests.helpers.examples import HISTORY
from tests.helpers.strategies import JSON


def write(folder: Path, value: object) -> Path:
    path = folder / "history.json"
    path.write_text(json.dumps(value))
    return path


def test_read(tmp_path: Path) -> None:
    history = read_history(write(tmp_path, HISTORY))
    assert (history.scheme, history.criterion, history.lambda_) == ("scheme_2", "flops", 2.5e-5)
    assert [step.mu for step in history.steps] == [1.0, 2.0, 4.0]
    assert history.steps[0].ranks == (20, 80, 150, 150, 150, 900, 700, 500)
    assert history.steps[0].top1_error == 60.5
    assert history.steps[2].top1_error is None, "the step that is under way"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "format 2"),
        ({"format": True}, "format true"),
        ({"scheme": "scheme_9"}, "scheme_9"),
        ({"lambda": "much"}, 'lambda is "much"; expected a number'),
        (
            {"steps": [{**HISTORY["steps"][0], "ranks": [1, 2]}]},
            r"item 1 of steps: ranks is \[1, 2\]; expected 8 whole numbers",
        ),
        (
            {"steps": [{**HISTORY["steps"][0], "mu": float("nan")}]},
            "item 1 of steps: mu is nan; expected a finite number",
        ),
        ({"steps": [{**HISTORY["steps"][0], "step": True}]}, "step is true; expected a whole number"),
        ({"steps": [{**HISTORY["steps"][0], "macs": 1e9}]}, r"macs is 1000000000\.0; expected a whole number"),
        ({"steps": [{**HISTORY["steps"][0], "top1_error": 101}]}, "top1_error is 101; expected 0 to 100"),
        ({"steps": 3}, "steps is 3; expected a list"),
        ({"odd": 1}, 'has "odd"; expected one of: scheme, criterion, lambda, steps, layers'),
        (
            {"steps": [{**HISTORY["steps"][0], "odd": 1}]},
            'item 1 of steps has "odd"; expected one of: step, mu, ranks, macs, top1_error, distance',
        ),
    ],
)
def test_refused(tmp_path: Path, change: dict, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_history(write(tmp_path, {**HISTORY, **change}))
    with pytest.raises(DataError, match=r"There is no none\.json; expected a rank history"):
        read_history(tmp_path / "none.json")
    with pytest.raises(DataError, match=rf"{tmp_path.name} cannot be read \(Is a directory\); expected a rank history"):
        read_history(tmp_path)


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    path = write(tmp_path, HISTORY)
    path.write_text(path.read_text().replace('"mu": 2.0', '"mu": 2.0, "mu": 3.0'))
    with pytest.raises(DataError, match=r'^history\.json, item 2 of steps has "mu" twice; expected each key only once'):
        read_history(path)


@settings(deadline=None)
@given(st.sampled_from([None, *sorted(HISTORY)]), JSON)
def test_any_value_is_a_history_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, field: str | None, value: object
) -> None:
    path = write(tmp_path_factory.getbasetemp(), value if field is None else {**HISTORY, field: value})
    try:
        read_history(path)
    except DataError as error:
        assert "history.json" in str(error)
