"""Things that threads use in turn: each goes to whoever has waited longest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Turns(Generic[Thing]):
    """A few things, each of which one thread at a time may have.

    Args:
        things: The last is given out first.
    """

    def __init__(self, things: Iterable[Thing]) -> None:
        self._lock = threading.Lock()
        self._free = list(things)
        self._waiting: deque[Future[Thing]] = deque()

    def take(self) -> Thing:
        """Wait for a thing, and take it."""
        with self._lock:
            if self._free:
                return self._free.pop()
            turn: Future[Thing] = Future()
            self._waiting.append(turn)
        try:
            return turn.result()
        except BaseException:  # Ctrl-C
            with self._lock:
                given = turn.done()
                if not given:
                    self._waiting.remove(turn)
            if given:
                self.give_back(turn.result())
            raise

    def give_back(self, thing: Thing) -> None:
        """Give back a thing, or another in its place."""
        # Hand it over: otherwise a thread that takes and gives back often would always be the first to take it again.
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set_result(thing)
            else:
                self._free.append(thing)


class FairLock:
    """A lock for ``with``. Python's own lock goes to any thread, mostly the one that has just released it."""

    def __init__(self) -> None:
        self._turns = Turns([None])

    def take(self) -> None:
        """Wait for the lock, and keep it."""
        self._turns.take()

    def __enter__(self) -> None:
        """Wait for the lock."""
        self.take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Release the lock."""
        self._turns.give_back(None)
