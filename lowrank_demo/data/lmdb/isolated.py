"""Read an LMDB file in a child process, so that a file that is truncated while it is read crashes only the child.

LMDB maps the file into memory. Reading a mapped page that no longer exists kills the process (SIGBUS), and zeroed or
random pages can crash it as well. The child imports neither torch nor DALI and starts in a tenth of a second. Each
answer is one pickle of what :class:`~lowrank_demo.data.lmdb.reader.LmdbReader` returned or raised.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import DataError, LowRankError, ProcessLost, RecordError
from .reader import LmdbReader
from .record import Record

_END_SECONDS = 5
"""A process whose pipes are closed is gone sooner than this."""
_FAULTS = {"SIGBUS", "SIGSEGV", "SIGABRT", "SIGFPE", "SIGILL"}
"""What ends a process that reads pages which are no longer there, or make no sense."""
_IMPORT_ROOT = Path(__file__).parents[3]
_ANSWER_SECONDS = 300
"""One batch takes longer than this only if the disk no longer answers."""


class IsolatedReader:
    """The methods of :class:`LmdbReader` that a validation needs. A context manager; safe for use by several threads.

    Args:
        path: As for :class:`LmdbReader`.

    Raises:
        LowRankError: As for :class:`LmdbReader`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._lock = threading.Lock()
        self._late = threading.Event()
        python_path = os.pathsep.join([str(_IMPORT_ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": python_path},
            # Ctrl-C reaches every process of a terminal's session, but only close() may end this one.
            start_new_session=True,
        )
        try:
            self.file, self._count = self._answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def read_each(self, indices: range) -> list[Record | RecordError]:
        """Return several records, with the error in place of each damaged one.

        Raises:
            DataError: The file was truncated meanwhile, its damage crashes the reader, or the disk does not answer.
            ProcessLost: Something else ended the child.
        """
        with self._lock:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(f"{indices.start} {indices.stop} {indices.step}\n".encode())
                self._process.stdin.flush()
            except OSError as error:
                raise self._lost() from error
            return self._answer()

    def close(self) -> None:
        """End the child process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.kill()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        timer = threading.Timer(_ANSWER_SECONDS, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError, OSError) as error:
            raise self._lost() from error
        finally:
            timer.cancel()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _give_up(self) -> None:
        self._late.set()
        self._process.kill()

    def _lost(self) -> LowRankError:
        """Say why the child ended, by its exit code. Only a memory fault says something about the file."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        if self._late.is_set():
            return DataError(
                f"{self.name} gave no answer within {_ANSWER_SECONDS} seconds; expected a batch of records. Check the "
                "disk or the network that holds it, and start again."
            )
        if code is None:
            return ProcessLost(
                f"The process that reads {self.name} still runs, but what it sent is not an answer; nothing is known "
                "to be wrong with the file. Start again."
            )
        name = signal.Signals(-code).name if code < 0 else ""
        if name in _FAULTS:
            return DataError(
                f"{self.name} was cut off or changed while it was read, or is damaged inside; expected the file as it "
                "was built. Copy or build it again."
            )
        how = f"was ended by {name}" if name else f"ended with exit code {code}"
        memory = " The system does that when memory runs out: free some." if name == "SIGKILL" else ""
        return ProcessLost(
            f"The process that read {self.name} {how} before its work was done; nothing is known to be wrong with the "
            f"file.{memory} Start again."
        )


def main() -> None:
    """Run in the child: answer requests for records of the file named on the command line until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Anything else that is printed must not mix with the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(answer: object) -> None:
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()

    try:
        with LmdbReader(Path(sys.argv[1])) as reader:
            send((reader.file, len(reader)))
            for line in sys.stdin:
                send(reader.read_each(range(*map(int, line.split()))))
    except LowRankError as error:
        send(error)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
