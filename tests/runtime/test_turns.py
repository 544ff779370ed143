"""A lock that goes to whoever waits longest."""

from __future__ import annotations

import threading
import time

import pytest

from lowrank_demo.runtime.turns import FairLock, Turns


def test_one_at_a_time() -> None:
    lock, inside, most = FairLock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    with lock:
        pass


def test_the_order_is_that_of_arrival() -> None:
    lock, order = FairLock(), []

    def wait(number: int) -> None:
        with lock:
            order.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    with lock:
        for thread in threads:
            thread.start()
            time.sleep(0.02)
    with lock:  # comes last
        assert order == [0, 1, 2, 3, 4]
    for thread in threads:
        thread.join()


def test_an_error_inside_releases_it() -> None:
    lock = FairLock()
    with pytest.raises(KeyError), lock:
        raise KeyError
    with lock:
        pass


def test_a_wait_that_is_interrupted_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(["a"])
    assert turns.take() == "a"

    def interrupted(turn: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("concurrent.futures.Future.result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            turns.take()
    turns.give_back("b")
    assert turns.take() == "b"
