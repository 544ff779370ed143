"""A signal stops long work between two pieces; a second signal stops it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lowrank_demo.runtime.stopping import STOPPED, end_as_by_ctrl_c, interruptible, stoppable, undisturbed
from tests.helpers.paths import ROOT


def pieces(signals_in: dict[int, list[signal.Signals]], done: list[str], count: int = 3) -> Iterator[int]:
    """Work that is hit by signals in some of its pieces; ``done`` lists what was finished."""
    try:
        for piece in range(count):
            for number in signals_in.get(piece, []):
                signal.raise_signal(number)
            done.append(f"piece {piece}")
            yield piece
        for number in signals_in.get(count, []):
            signal.raise_signal(number)
    finally:
        done.append("closed")


def test_the_current_piece_is_finished_first() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        list(stoppable(pieces({1: [signal.SIGINT]}, done)))
    assert done == ["piece 0", "piece 1", "closed"]


def test_closing_takes_as_long_as_it_takes() -> None:
    """The work closes itself before the exception, with the signals still caught."""
    heard: list[str] = []

    def slow_to_close() -> Iterator[int]:
        try:
            signal.raise_signal(signal.SIGINT)
            yield 0
        finally:
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt as error:
                heard.append(f"closing: {error}")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        list(stoppable(slow_to_close()))
    assert heard == ["closing: stopped"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_no_piece_starts_after_a_signal() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        [signal.raise_signal(signal.SIGINT) for _ in stoppable(pieces({}, done))]
    assert done == ["piece 0", "closed"]


def test_a_second_signal_stops_at_once() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        list(stoppable(pieces({1: [signal.SIGINT, signal.SIGINT]}, done)))
    assert done == ["piece 0", "closed"]


def test_the_first_signal_gives_the_reason() -> None:
    reasons = {**STOPPED, signal.SIGTERM: "another process is gone"}
    with pytest.raises(KeyboardInterrupt, match="another process is gone"):
        list(stoppable(pieces({0: [signal.SIGTERM, signal.SIGINT]}, []), reasons))


def test_a_signal_after_the_last_piece_has_no_effect() -> None:
    assert list(stoppable(pieces({3: [signal.SIGINT]}, []))) == [0, 1, 2]


@pytest.mark.parametrize("number", [1, 3])
def test_the_handlers_are_restored(number: int) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        list(stoppable(pieces({number: [signal.SIGINT]}, [])))
    except KeyboardInterrupt:
        assert number == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def ignored_hang_up() -> Iterator[None]:
    """As ``nohup`` starts a program."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")
def test_an_ignored_signal_stays_ignored(ignored_hang_up: None) -> None:
    assert list(stoppable(pieces({1: [signal.SIGHUP]}, []))) == [0, 1, 2]
    end_as_by_ctrl_c()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_program_that_is_ended_tidies_up(tmp_path: Path, name: str) -> None:
    code = (
        "import tempfile, time\nfrom lowrank_demo.runtime.stopping import end_as_by_ctrl_c\nend_as_by_ctrl_c()\n"
        "kept = tempfile.TemporaryDirectory(prefix='lowrank-')\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True)
    assert program.stdout
    assert program.stdout.readline() == "ready\n"
    assert list(tmp_path.iterdir())
    program.send_signal(getattr(signal, name))
    assert "KeyboardInterrupt" in program.communicate(timeout=20)[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_a_program_is_ended_at_once_again() -> None:
    code = (
        "import signal, time\n"
        "from lowrank_demo.runtime.stopping import end_as_by_ctrl_c, end_at_once\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "end_as_by_ctrl_c()\nend_at_once()\n"
        "assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN\n"
        "assert signal.getsignal(signal.SIGINT) == signal.default_int_handler\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=-1, text=True)
    assert program.stdout
    assert program.stdout.readline() == "ready\n"
    program.terminate()
    assert program.wait(20) == -signal.SIGTERM
    program.stdout.close()


def test_a_wait_gives_what_the_call_gave() -> None:
    assert interruptible(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)
    never = threading.Event()
    with pytest.raises(TimeoutError):
        interruptible(never.wait, seconds=0.1)
    never.set()


def test_a_signal_ends_a_wait() -> None:
    """The call stands for one outside Python: nothing but a thread of its own lets the signal through."""
    never = threading.Event()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        interruptible(never.wait)
    timer.join()
    never.set()


def test_signals_wait_for_the_end_of_a_block() -> None:
    done: list[str] = []

    def block() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append("the whole block")
        done.append("after it")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == ["the whole block"]
    assert signal.getsignal(signal.SIGINT) == before
    thread = threading.Thread(target=lambda: undisturbed().__enter__() or done.append("in a thread"))
    thread.start()
    thread.join()
    assert done[-1] == "in a thread"
