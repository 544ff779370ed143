"""Build an LMDB file from labelled image files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ..decode.base import CROP, read_header
from ..decode.pixels import check_image
from ..errors import DataError, ImageError, UsageError
from ..runtime.parallel import map_ahead
from ..runtime.progress import Meter, Progress
from .lmdb.record import Record
from .lmdb.writer import LmdbWriter
from .resize import MAX_PIXELS, read_image_file, resize_bytes
from .samples import Sample, Samples
from .walk import Refused, listed


class LmdbBuild:
    """A build of one LMDB file. Iterate over it to do the work; it yields progress.

    Every image is checked by decoding it. Images that cannot be used are left out and listed in ``refused``, as are
    those that the samples left out.

    Args:
        samples: The images and labels, in the order of the records.
        path: The LMDB file to build.
        shortest_edge: Resize the images to it; None stores the files unchanged.
        quality: Quality of resized JPEGs, 1 to 100; None keeps that of the originals.
        threads: Images read and checked at the same time.
        overwrite: Replace ``path`` if it exists.

    Raises:
        UsageError: ``path`` exists, or the shortest edge is too small.
    """

    def __init__(
        self,
        samples: Samples,
        path: Path,
        *,
        shortest_edge: int | None = None,
        quality: int | None = None,
        threads: int = 1,
        overwrite: bool = False,
    ) -> None:
        if shortest_edge is not None and shortest_edge < CROP:
            raise UsageError(f"The shortest edge is {shortest_edge}; expected at least {CROP}, the networks' input.")
        self._samples = samples.found
        self._edge = shortest_edge
        self._quality = quality
        self._threads = threads
        self._writer = LmdbWriter(path, shortest_edge=shortest_edge, seed=samples.seed, overwrite=overwrite)
        self.refused: list[Refused] = list(samples.refused)

    @property
    def count(self) -> int:
        """Images stored so far."""
        return self._writer.count

    def __iter__(self) -> Iterator[Progress]:
        meter = Meter(len(self._samples))
        outcomes = map_ahead(self._read, self._samples, threads=self._threads, name="build")
        with self._writer as writer, closing(outcomes):
            for done, (sample, outcome) in enumerate(outcomes, start=1):
                if isinstance(outcome, ImageError):
                    self.refused.append(Refused(sample.shown_as or sample.path, str(outcome)))
                else:
                    writer.put(Record(outcome, sample.label))
                yield meter.at(done)
            if not writer.count:
                raise DataError(
                    f"No image could be stored in {writer.path.name}, so it was not written.{listed(self.refused)}"
                )
            writer.refused = sum(item.images for item in self.refused)

    def _read(self, sample: Sample) -> bytes | ImageError:
        """Return the bytes to store, or why the file is not an image that can be decoded."""
        try:
            data = read_image_file(sample.path)
            if self._edge is not None:
                resized = resize_bytes(data, self._edge, quality=self._quality)
                if resized is not data:
                    return resized
            read_header(data, MAX_PIXELS)
            check_image(data)
        except ImageError as error:
            return error
        return data
