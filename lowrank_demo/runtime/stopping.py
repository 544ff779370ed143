"""Stopping long work on a signal: between two pieces, never in the middle of one."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import TypeVar

Piece = TypeVar("Piece")
STOPPED: Mapping[signal.Signals, str] = {signal.SIGINT: "stopped"}
"""Ctrl-C, and the text of the exception that it raises."""


def stoppable(pieces: Iterable[Piece], reasons: Mapping[signal.Signals, str] = STOPPED) -> Iterator[Piece]:
    """Yield the pieces until a signal arrives. Call it in the main thread only.

    By itself, Python raises KeyboardInterrupt between any two instructions. A piece may then be half counted, or a lock
    may stay taken so that the program hangs. Here the exception is raised after the current piece, when its work can be
    saved. A second signal raises it at once. A signal after the last piece has no effect.

    Args:
        pieces: An iterable that does the work. It is closed before the exception is raised.
        reasons: The signals to catch, each with the text of the exception.

    Raises:
        KeyboardInterrupt: A signal arrived.
    """
    received: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(reasons[signal.Signals(number)])
        if len(received) > 1:
            raise KeyboardInterrupt(received[0])

    previous = {number: signal.signal(number, note) for number in reasons}
    try:
        for piece in pieces:
            yield piece
            if received:
                break
        else:
            return
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    raise KeyboardInterrupt(received[0])
