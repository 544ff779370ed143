"""Numbers in sentences."""

from __future__ import annotations

import pytest

from lowrank_demo.runtime.words import counted, reason


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 photos"), (1, "1 photo"), (2, "2 photos"), (12345, "12,345 photos")]
)
def test_counted(number: int, text: str) -> None:
    assert counted(number, "photo") == text


def test_a_noun_that_ends_in_s() -> None:
    assert [counted(number, "class") for number in (1, 2)] == ["1 class", "2 classes"]


def test_the_reason_of_a_failure() -> None:
    assert reason(OSError(28, "No space left on device", "/secret")) == "No space left on device"
    assert reason(OSError("no number")) == "no number"
    assert reason(ValueError("odd")) == "odd"
