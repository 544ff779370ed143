"""Looking ahead in threads: all results in order, a bounded number of items ahead, quick to close."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from lowrank_demo.runtime.parallel import map_ahead


def test_results_come_in_order() -> None:
    def work(item: int) -> int:
        time.sleep(0.01 * (item % 3))
        return item * item

    assert list(map_ahead(work, range(50), threads=4, name="test")) == [(i, i * i) for i in range(50)]
    assert list(map_ahead(work, [], threads=4, name="test")) == []


def test_what_is_quick_takes_its_turn_among_the_others() -> None:
    threads: dict[int, str] = {}

    def work(item: int) -> int:
        threads[item] = threading.current_thread().name
        time.sleep(0.01)
        return -item

    def quick(item: int) -> int | None:
        return item if item % 3 else None

    found = list(map_ahead(work, range(60), threads=2, name="test", quick=quick))
    assert found == [(i, i if i % 3 else -i) for i in range(60)]
    assert sorted(threads) == [*range(0, 60, 3)]
    assert all(name.startswith("test_") for name in threads.values())


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    results = map_ahead(str, items(), threads=2, name="test")
    for done in range(1, 6):
        next(results)
        assert len(taken) < done + 16
    results.close()


def test_closing_cancels_what_waits() -> None:
    started: list[int] = []
    release = threading.Event()

    def work(item: int) -> None:
        started.append(item)
        if item:
            release.wait(30)

    results = map_ahead(work, range(100), threads=1, name="test")
    assert next(results) == (0, None)
    threading.Timer(0.2, release.set).start()
    results.close()
    assert started in ([0], [0, 1]), "items 2 to 7 were waiting"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test_")]


def test_an_error_ends_the_work() -> None:
    def work(item: int) -> int:
        return 1 // (3 - item)

    results = map_ahead(work, range(100), threads=2, name="test")
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test_")]
