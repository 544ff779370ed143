"""Long work that is told to stop: it ends between two pieces, never within one."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import TypeVar

Piece = TypeVar("Piece")
STOPPED: Mapping[signal.Signals, str] = {signal.SIGINT: "stopped"}
"""Ctrl-C, and what is said then."""


def stoppable(pieces: Iterable[Piece], reasons: Mapping[signal.Signals, str] = STOPPED) -> Iterator[Piece]:
    """The pieces, one after the other, until a signal comes; for the main thread.

    Python raises KeyboardInterrupt between any two instructions: half of a piece is counted then, or a lock that a
    thread waits for stays taken and the program hangs. Here it is raised after the piece at hand, where the work can be
    kept; a second signal raises it at once. One that comes after the last piece is too late to stop anything.

    Args:
        pieces: What does the work when it is iterated; closed before the exception is raised.
        reasons: The signals, and what the exception says.

    Raises:
        KeyboardInterrupt: One of the signals came; its text is the reason.
    """
    told: list[str] = []

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(reasons[signal.Signals(number)])
        if len(told) > 1:
            raise KeyboardInterrupt(told[0])

    before = {number: signal.signal(number, tell) for number in reasons}
    try:
        for piece in pieces:
            yield piece
            if told:
                break
        else:
            return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    raise KeyboardInterrupt(told[0])
