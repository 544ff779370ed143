"""Calls in child processes: answered, or ended where they take too much; the next one is answered again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lowrank_demo.errors import TooCostly, UsageError
from lowrank_demo.runtime.confined import Children
from tests.helpers.slack import SLACK


def double(number: int) -> int:
    return 2 * number


def process() -> int:
    return os.getpid()


def refuse() -> None:
    raise UsageError("one sentence")


def processor_time_left() -> float:
    return signal.getitimer(signal.ITIMER_PROF)[0]


def spin() -> None:
    while True:
        pass


def wait(seconds: float) -> None:
    time.sleep(seconds)


def fill() -> int:
    return len(bytes(10**9))


def crash() -> None:
    os.abort()


def chat() -> str:
    print("a library's warning")
    return "answer"


def test_answers_and_errors_come_back() -> None:
    with Children(2) as children:
        assert children.call(double, 21) == 42
        with pytest.raises(UsageError, match="one sentence"):
            children.call(refuse)
        with pytest.raises(TypeError):
            children.call(double)
        assert children.call(chat) == "answer"
        assert len({children.call(process) for _ in range(5)}) == 1, "no more processes than are needed"


@pytest.mark.parametrize("costly", [spin, fill, crash])
def test_what_takes_too_much_is_ended_and_the_child_replaced(costly: Callable[[], object]) -> None:
    with Children(1, cpu_seconds=0.3) as children:
        first = children.call(process)
        began = time.monotonic()
        with pytest.raises(TooCostly):
            children.call(costly)
        assert time.monotonic() - began < 8 * SLACK
        assert children.call(process) != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)


def test_the_deadline() -> None:
    with Children(1, seconds=1) as children, pytest.raises(TooCostly):
        children.call(wait, 60)


def test_the_start_of_a_child_counts() -> None:
    with Children(1, cpu_seconds=5) as children:
        first, second = children.call(processor_time_left), children.call(processor_time_left)
    assert 4.4 < first < 4.7 < 4.9 < second


def test_callers_take_turns() -> None:
    """One who asks all the time does not keep the others out."""
    ended: list[str] = []
    with Children(1) as children:
        children.call(wait, 0)

        def many() -> None:
            for _ in range(40):
                children.call(wait, 0.05)
            ended.append("many")

        def one() -> None:
            children.call(wait, 0)
            ended.append("one")

        threads = [threading.Thread(target=many), threading.Thread(target=one)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join()
    assert ended == ["one", "many"]


def test_the_children_end_with_their_caller() -> None:
    with Children(1) as children:
        pid = children.call(process)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_children_that_work_are_ended_too() -> None:
    with ThreadPoolExecutor(3) as pool:
        with Children(1) as children:
            children.call(process)
            calls = [pool.submit(children.call, wait, 60) for _ in range(3)]
            time.sleep(0.2)
            began = time.monotonic()
        assert time.monotonic() - began < 2 * SLACK
        for call in calls:
            with pytest.raises(TooCostly):
                call.result()
    with pytest.raises(TooCostly):
        children.call(process)


def test_a_child_that_was_killed_while_it_waited_is_replaced() -> None:
    with Children(1) as children:
        number = children.call(os.getpid)
        os.kill(number, signal.SIGKILL)
        time.sleep(0.2)
        assert children.call(os.getpid) != number


def test_the_working_folder_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    with Children(1) as children:
        assert children.call(os.getpid) != os.getpid()
