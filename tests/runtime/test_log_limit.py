"""A bound on the log."""

from __future__ import annotations

import logging
import time

import pytest

from lowrank_demo.runtime.log_limit import LogLimit


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    """Return a logger whose records the test sees."""
    logger = logging.getLogger("limited")
    logger.setLevel(logging.INFO)
    limit = LogLimit(most=3, seconds=100)
    caplog.handler.addFilter(limit)
    return logger


def test_what_repeats_is_left_out_and_counted(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeat(times: int) -> None:
        for number in range(times):
            logger.error("visitor %d", number)

    repeat(9)
    logger.error("another statement")
    assert caplog.messages == ["visitor 0", "visitor 1", "visitor 2", "another statement"]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 101)
    repeat(5)
    assert caplog.messages[4:] == ["visitor 0 (6 more like it were left out before)", "visitor 1", "visitor 2"]


def test_types_of_errors_are_counted_apart(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    for kind in [*[ValueError] * 9, KeyError]:
        logger.error("failed", exc_info=kind())
    assert len(caplog.messages) == 4


def test_information_is_not_limited(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5):
        logger.info("request %d", number)
    assert len(caplog.messages) == 5
