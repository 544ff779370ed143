"""Stopping on a signal: long work between two pieces, never in the middle of one, and waits at any moment."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Piece = TypeVar("Piece")
Value = TypeVar("Value")
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
STOPPED: Mapping[signal.Signals, str] = dict.fromkeys(_SIGNALS, "stopped")
"""The signals that ask the program to end, each with the message of the KeyboardInterrupt it raises."""
_LOOK_SECONDS = 0.2
_LONG_SECONDS = 5.0


def end_as_by_ctrl_c() -> None:
    """Let every signal that asks the program to end raise KeyboardInterrupt, so that it cleans up after itself.

    Without this only Ctrl-C does; the others end Python on the spot. A signal that whoever started the program has
    chosen to ignore, as ``nohup`` does, stays ignored. Call it in the main thread.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(STOPPED[signal.Signals(number)])

    for number in STOPPED:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)


def end_at_once() -> None:
    """Let every signal but Ctrl-C end Python on the spot again, as before :func:`end_as_by_ctrl_c`.

    For work that may be waiting outside Python, where no handler runs. Call it in the main thread.
    """
    _default(STOPPED.keys() - {signal.SIGINT})


def end_on_the_spot() -> None:
    """Let every signal end Python on the spot, once there is nothing left to clean up. Call it in the main thread.

    Otherwise one that arrives while Python ends would raise KeyboardInterrupt in a library's last steps.
    """
    _default(STOPPED)


def _default(numbers: Iterable[signal.Signals]) -> None:
    """Let these signals do what the system does by default, but for those that are ignored."""
    for number in numbers:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back signals until the end of the block, so that its work is done wholly or not at all.

    Python handles signals in the main thread only, so in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    previous = {number: handler for number in STOPPED if callable(handler := signal.getsignal(number))}
    try:
        for number in previous:
            signal.signal(number, lambda number, frame: held.append(number))
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for number in held:
        signal.raise_signal(signal.Signals(number))


def interruptible(
    call: Callable[[], Value], seconds: float = math.inf, on_long: Callable[[], None] = lambda: None
) -> Value:
    """Run a call that blocks outside Python, so that signals and a time limit can end the wait.

    The call runs in a thread of its own, which is left behind when the wait ends early.

    Args:
        call: Waits for others, and nothing more.
        seconds: The longest wait.
        on_long: Called once if the wait lasts some seconds, to say what for.

    Returns:
        What the call returns.

    Raises:
        TimeoutError: There was no answer in time.
        BaseException: What the call raised.
    """
    values: list[Value] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="waits for others")
    thread.start()
    begun = time.monotonic()
    said = False
    while thread.is_alive():
        thread.join(_LOOK_SECONDS)
        waited = time.monotonic() - begun
        if not said and waited > _LONG_SECONDS:
            said = True
            on_long()
        if waited > seconds:
            raise TimeoutError("no answer")
    for error in errors:
        raise error
    return values[0]


def stoppable(pieces: Iterable[Piece], reasons: Mapping[signal.Signals, str] = STOPPED) -> Iterator[Piece]:
    """Yield the pieces until a signal arrives. Call it in the main thread only.

    By itself, Python raises KeyboardInterrupt between any two instructions. A piece may then be half counted, or a lock
    may stay taken so that the program hangs. Here the exception is raised after the current piece, when its work can be
    saved. A second signal raises it at once. A signal after the last piece has no effect.

    Args:
        pieces: An iterable that does the work. It is closed before the exception is raised.
        reasons: The signals to catch, each with the text of the exception. One that is ignored stays ignored.

    Raises:
        KeyboardInterrupt: A signal arrived.
    """
    received: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(reasons[signal.Signals(number)])
        if len(received) > 1:
            raise KeyboardInterrupt(received[0])

    heard = [number for number in reasons if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, note) for number in heard}
    work = iter(pieces)
    try:
        for piece in work:
            yield piece
            if received:
                break
        else:
            return
    finally:
        try:
            if isinstance(work, Generator):
                work.close()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    raise KeyboardInterrupt(received[0])
