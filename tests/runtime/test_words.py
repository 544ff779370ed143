"""Numbers in sentences."""

from __future__ import annotations

import pytest

from lowrank_demo.runtime.words import counted, percent, printable, reason


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 photos"), (1, "1 photo"), (2, "2 photos"), (12345, "12,345 photos")]
)
def test_counted(number: int, text: str) -> None:
    assert counted(number, "photo") == text


def test_a_noun_that_ends_in_s() -> None:
    assert [counted(number, "class") for number in (1, 2)] == ["1 class", "2 classes"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0 %"), (0.0314, "3.1 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (0.425, "42 %"), (1.0, "100 %")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_the_reason_of_a_failure() -> None:
    assert reason(OSError(28, "No space left on device", "/secret")) == "No space left on device"
    assert reason(OSError("no number")) == "no number"
    assert reason(ValueError("odd")) == "odd"


def test_a_name_on_one_line() -> None:
    assert printable("löwe 1.jpg") == "löwe 1.jpg"
    assert printable("a\nb\x1b[31m\udce9.jpg") == "a\\nb\\x1b[31m\\udce9.jpg"
