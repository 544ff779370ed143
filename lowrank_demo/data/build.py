"""Samples to an LMDB file: every image checked, resized on the way if asked, the refused ones listed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ..decode.base import CROP, read_header
from ..decode.pillow import check_image
from ..errors import ImageError, UsageError
from ..runtime.progress import Meter, Progress
from .lmdb.record import Record
from .lmdb.writer import LmdbWriter
from .resize import MAX_PIXELS, Refused, resize_bytes
from .samples import Sample


class Building:
    """Builds one LMDB file. Iterating does the work and yields progress; ``refused`` lists what was left out.

    Args:
        samples: In the order of the records.
        path: The finished file.
        shortest_edge: Resize to it on the way; None stores the files as they are.
        threads: Images read and checked at the same time.
        overwrite: Replace a file that is there.

    Raises:
        UsageError: The file is there, or there is nothing to build from.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        path: Path,
        *,
        shortest_edge: int | None = None,
        threads: int = 1,
        overwrite: bool = False,
    ) -> None:
        if not samples:
            raise UsageError("There is no image to store; expected at least one.")
        if shortest_edge is not None and shortest_edge < CROP:
            raise UsageError(f"The shortest edge is {shortest_edge}; expected at least {CROP}, the networks' input.")
        self._samples = samples
        self._edge = shortest_edge
        self._threads = threads
        self._writer = LmdbWriter(path, shortest_edge=shortest_edge, overwrite=overwrite)
        self.refused: list[Refused] = []

    @property
    def count(self) -> int:
        """Images stored so far."""
        return self._writer.count

    def __iter__(self) -> Iterator[Progress]:
        meter = Meter(len(self._samples))
        ahead: deque[tuple[Sample, Future[bytes]]] = deque()
        waiting = iter(self._samples)
        done = 0
        with self._writer as writer, ThreadPoolExecutor(self._threads, thread_name_prefix="build") as pool:
            try:
                while True:
                    while len(ahead) < 8 * self._threads and (sample := next(waiting, None)):
                        ahead.append((sample, pool.submit(self._read, sample.path)))
                    if not ahead:
                        break
                    sample, future = ahead.popleft()
                    try:
                        writer.put(Record(future.result(), sample.label))
                    except ImageError as error:
                        self.refused.append(Refused(sample.path, str(error)))
                        writer.refused = len(self.refused)
                    done += 1
                    yield meter.at(done)
            finally:
                for _, future in ahead:
                    future.cancel()

    def _read(self, path: Path) -> bytes:
        """The file's bytes, once all of them were read as an image to be sure of them."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"The file cannot be read ({error.strerror}); expected an image.") from error
        if self._edge is not None:
            resized = resize_bytes(data, self._edge)
            if resized is not data:
                return resized
        read_header(data, MAX_PIXELS)
        check_image(data)
        return data
