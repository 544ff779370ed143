"""A signal stops long work between two pieces; a second signal stops it at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from lowrank_demo.runtime.stopping import STOPPED, stoppable


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
