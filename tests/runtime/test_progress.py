"""Progress in words, and how often it is shown."""

from __future__ import annotations

import pytest

from lowrank_demo.runtime.progress import Meter, Progress, ProgressLine, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_progress_says_rate_and_time_left() -> None:
    assert Progress(120, 400, 85.0).text == "120 of 400 images, 85 images/s, 3 s left"
    assert Progress(0, 1, 1.2).text == "0 of 1 image, 1 image/s, 1 s left"
    assert Progress(400, 400, 85.0).text == "400 of 400 images, 85 images/s"


def test_the_rate_leaves_out_what_an_earlier_run_did() -> None:
    meter = Meter(1000, done=900)
    assert meter.at(900).per_second == 0
    assert meter.at(950).per_second > 0


def test_a_log_gets_the_last_line_and_few_others(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine()
    for number in range(1, 11):
        line.show(Progress(number, 10, 5.0))
    assert capsys.readouterr().err == "10 of 10 images, 5 images/s\n"
