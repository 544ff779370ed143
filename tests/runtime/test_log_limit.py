"""A bound on the log."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from lowrank_demo.runtime.log_limit import LogLimit


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    """Yield a logger whose records the test sees."""
    logger = logging.getLogger("limited")
    logger.setLevel(logging.INFO)
    limit = LogLimit(most=3, seconds=100)
    caplog.handler.addFilter(limit)
    yield logger
    # The handler is that of the whole session.
    caplog.handler.removeFilter(limit)


def test_what_repeats_is_left_out_and_counted(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeat(times: int) -> None:
        for number in range(times):
            logger.error("visitor %d", number)

    repeat(9)
    logger.error("another statement")
    last = "visitor 2 (further ones like it are left out for 2 minutes)"
    assert caplog.messages == ["visitor 0", "visitor 1", last, "another statement"]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 101)
    repeat(5)
    assert caplog.messages[4:] == ["visitor 0 (6 more like it were left out before)", "visitor 1", last]


def test_types_of_errors_are_counted_apart(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    for kind in [*[ValueError] * 9, KeyError]:
        logger.error("failed", exc_info=kind())
    assert len(caplog.messages) == 4


def test_what_other_lines_raise_is_counted_apart(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """One statement logs whatever goes wrong: ten odd values of a visitor hid a fault elsewhere."""

    def odd_value() -> None:
        raise TypeError("a visitor's")

    def fault() -> None:
        raise TypeError("ours")

    calls: list[Callable[[], None]] = [*[odd_value] * 9, fault]
    for call in calls:
        try:
            call()
        except TypeError:
            logger.exception("failed")
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [*["a visitor's"] * 3, "ours"]


def test_arguments_that_do_not_fit_are_left_to_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = LogLimit(most=1, seconds=100)

    def record() -> logging.LogRecord:
        return logging.LogRecord("name", logging.ERROR, "file.py", 1, "%s and %s", ("one",), None)

    assert [limit.filter(record()) for _ in range(3)] == [True, False, False]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 101)
    assert limit.filter(late := record())
    assert late.msg.startswith("%s and %s (2 more like it")


def test_a_library_that_configures_the_log_later() -> None:
    program = (
        "import logging; from lowrank_demo.runtime.log_limit import limit_log; limit_log(); logging.basicConfig()\n"
        "for number in range(30): logging.getLogger('other').warning('number %d', number)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = run.stderr.splitlines()
    assert len(lines) == 10
    assert lines[-1] == "number 9 (further ones like it are left out for 60 minutes)"


def test_information_is_not_limited(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5):
        logger.info("request %d", number)
    assert len(caplog.messages) == 5
