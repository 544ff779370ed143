"""An LMDB file read in a process of its own, so that a file that is cut off under way ends that process and not ours.

LMDB maps the file into memory, and reading a page that is no longer there kills whoever reads it (SIGBUS); zeroed and
random pages can end in a crash as well. The other process imports neither torch nor DALI: it is there in a tenth of a
second. Each answer is one pickle, from our own process, of what :class:`~lowrank_demo.data.lmdb.reader.LmdbReader`
returned or raised.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import DataError, LowRankError, RecordError
from .reader import LmdbReader
from .record import Record

_PACKAGES = Path(__file__).parents[3]
_PATIENCE_SECONDS = 300
"""Reading one batch takes longer than this only where the disk no longer answers."""


class IsolatedReader:
    """The part of :class:`LmdbReader` that a validation needs. A context manager; safe for use by several threads.

    Args:
        path: As for :class:`LmdbReader`.

    Raises:
        DataError: As for :class:`LmdbReader`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._lock = threading.Lock()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_PACKAGES), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Ctrl-C goes to all processes of a terminal's session; when to end is for the one that asks.
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
        """Several records, the error in place of each one that is damaged.

        Raises:
            DataError: The file was cut off, or is damaged so that reading it ends the process.
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
        """End the other process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.kill()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        watch = threading.Timer(_PATIENCE_SECONDS, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError, OSError) as error:
            raise self._lost() from error
        finally:
            watch.cancel()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _lost(self) -> DataError:
        return DataError(
            f"{self.name} was cut off or changed while it was read, or is damaged within; expected a file as it was "
            "built. Copy or build it again."
        )


def main() -> None:
    """Answer from the file named on the command line until nobody asks any more."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Nothing else may write where the answers go.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(answer: object) -> None:
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()

    try:
        with LmdbReader(Path(sys.argv[1])) as reader:
            say((reader.file, len(reader)))
            for line in sys.stdin:
                say(reader.read_each(range(*map(int, line.split()))))
    except LowRankError as error:
        say(error)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
