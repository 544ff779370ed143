"""Work on strangers' data, in child processes that may be killed.

A child has limits on memory and on processor time for each call, and a deadline in case it hangs. A child that reaches
a limit or crashes is gone, and the next call starts another. Children start when they are first needed and give way to
everything else on the machine. Where the system has no such limits (Windows), only the deadline holds.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ..errors import TooCostly
from .turns import Turns

Answer = TypeVar("Answer")

CPU_SECONDS = 1.7
"""Processor time of one call: with what the caller does, less than two seconds."""
_START_SECONDS = 0.4
"""Approximate processor time to start a child. It is taken from the first call's time, but never more than half of
it."""
_SECONDS = 120.0 if hasattr(signal, "setitimer") else 20.0
"""Longest time of one call. A busy machine gives a child little processor time, which is not the caller's fault: where
the system limits processor time, this limit is only for a child that hangs."""
_MEGABYTES = 240
"""Memory that a call may take, beside what the child holds once its function is imported."""
_NICE = 10
_ONE_THREAD = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Each thread's stack and arena would count as memory."""


class Children:
    """A few child processes that call functions. Safe for use by several threads, which are served in turn.

    A context manager that ends the children, even while they work; they also end with this process.

    Args:
        count: Calls at the same time.
        cpu_seconds: Processor time of one call, with the start of the child if it is the first.
        seconds: Time of one call, however busy the machine is.
    """

    def __init__(self, count: int, cpu_seconds: float = CPU_SECONDS, seconds: float = _SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._seconds = seconds
        # None stands for a child that has not been started. The last is taken first, so no more start than are needed.
        self._turns: Turns[_Child | None] = Turns([None] * count)
        self._count = count
        self._lock = threading.Lock()
        self._started: set[_Child] = set()
        self._ended = False

    def __enter__(self) -> Children:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """End the children, and wait for them; calls raise TooCostly from now on."""
        with self._lock:
            self._ended = True
            for child in self._started:
                child.kill()
        # Whoever waits for an answer gets none, and gives back the turn.
        for child in [self._turns.take() for _ in range(self._count)]:
            if child:
                self._close(child)
            self._turns.give_back(None)

    def call(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        """Call a function of a module in a child.

        Raises:
            TooCostly: It took too much time or memory, or crashed, or the children were ended.
            Exception: Whatever the function raised.
        """
        child = self._turns.take()
        try:
            if child and not child.alive():
                self._close(child)
                child = None
            child = child or self._start()
            answer = child.call(function, arguments)
        except BaseException:
            if child:
                self._close(child)
            child = None
            raise
        finally:
            self._turns.give_back(child)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _start(self) -> _Child:
        with self._lock:
            if self._ended:
                raise TooCostly("The work was ended.")
            child = _Child(self._cpu_seconds, self._seconds)
            self._started.add(child)
        return child

    def _close(self, child: _Child) -> None:
        with self._lock:
            self._started.discard(child)
        child.close()


class _Child:
    """One process."""

    def __init__(self, cpu_seconds: float, seconds: float) -> None:
        self._seconds = seconds
        # Not with -m, which would first import whatever is in the working folder.
        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", start, str(cpu_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what libraries print about strangers' data
            env={**os.environ, **_ONE_THREAD},
            # Ctrl-C reaches every process of a terminal's session; the end of its input ends this one.
            start_new_session=True,
        )

    def call(self, function: Callable[..., object], arguments: tuple[object, ...]) -> Any:
        """Return what the function returned or raised.

        Raises:
            TooCostly: The process ended before it answered.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(self._seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            for part in (function, arguments):
                pickle.dump(part, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise TooCostly("The work took more time or memory than it may, or crashed.") from error
        finally:
            timer.cancel()

    def alive(self) -> bool:
        """Return whether the process runs; the system may have ended it while it waited for work."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process; whoever waits for its answer is told."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and free what it holds here."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()


def main() -> None:
    """Run in the child: answer calls until the input ends."""
    cpu_seconds = float(sys.argv[1])
    calls = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Anything else that is printed must not mix with the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if hasattr(os, "nice"):
        os.nice(_NICE)
    left = max(cpu_seconds - _START_SECONDS, cpu_seconds / 2)
    limited = False
    while True:
        try:
            function = pickle.load(calls)
        except EOFError:
            return
        if not limited:  # now that the first function's module and all that it needs is imported
            _limit_memory()
            limited = True
        answer = _called(function, pickle.load(calls), left)
        left = cpu_seconds
        if isinstance(answer, MemoryError):
            return
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _called(function: Callable[..., object], arguments: tuple[object, ...], cpu_seconds: float) -> object:
    """Return what a function returns or raises; the system ends this process after ``cpu_seconds``."""
    timed = hasattr(signal, "setitimer")
    if timed:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        return function(*arguments)
    except Exception as error:
        return error
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory() -> None:
    """Limit how much more the address space may grow; only Linux says how much is in use."""
    if sys.platform != "linux":
        return
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + _MEGABYTES * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
