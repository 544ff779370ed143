"""Build an LMDB file from labelled image files."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

from ..decode.base import CROP, EDGE, read_header
from ..decode.markers import ordinary_jpeg
from ..decode.pixels import check_image, load_image, to_rgb
from ..decode.sound import is_sound
from ..errors import DataError, ImageError, UsageError
from ..runtime.parallel import map_ahead
from ..runtime.progress import Meter, Progress
from .image_file import MAX_PIXELS, read_image_file
from .lmdb.record import Record
from .lmdb.writer import LmdbWriter
from .resize import resize_bytes
from .samples import Sample, Samples
from .walk import Refused, listed

_JPEGS = (".jpg", ".jpeg", ".jfif")
_MAX_RATIO = 16
"""Ratio of the edges of a stranger's photo: its shortest edge becomes 256 pixels, so a record is no larger than
256 x 4096."""


def encoded_record(
    data: bytes, edge: int | None = None, quality: int | None = None, *, decode_all: bool = False
) -> bytes:
    """Return the bytes to store for an image file, which is checked: a usual JPEG by its structure, others by decoding.

    Args:
        data: The bytes of the file.
        edge: Resize it to this shortest edge; None leaves it unchanged.
        quality: Quality of a resized JPEG; None keeps that of the original.
        decode_all: Decode every image to check it.

    Raises:
        ImageError: The image cannot be used.
    """
    if edge is not None:
        resized = resize_bytes(data, edge, quality=quality)
        if resized is not data:
            return resized
    if decode_all or not is_sound(data):
        read_header(data, MAX_PIXELS)
        check_image(data)
    return data


def strangers_record(data: bytes, max_pixels: int) -> bytes:
    """Return the bytes to store for a stranger's photo, resized to shortest edge 256: a file that costs little to read.

    Call it in a child process: the photo itself may cost much.

    Raises:
        ImageError: The photo cannot be used, or is larger or longer than it may be.
    """
    header = read_header(data, max_pixels)
    if max(header.width, header.height) > _MAX_RATIO * min(header.width, header.height):
        raise ImageError(
            f"The photo has {header.width} x {header.height} pixels; expected edges of at most {_MAX_RATIO} to 1: crop "
            "it."
        )
    resized = resize_bytes(data, EDGE, max_pixels)
    if resized is not data:
        return resized
    if jpeg := ordinary_jpeg(data, max_pixels):
        check_image(jpeg)
        return jpeg
    file = io.BytesIO()
    to_rgb(load_image(data)).save(file, "PNG")
    return file.getvalue()


class LmdbBuild:
    """A build of one LMDB file. Iterate over it to do the work; it yields progress.

    Every image is checked. Images that cannot be used are left out and listed in ``refused``, as are those that the
    samples left out.

    Args:
        samples: The images and labels, in the order of the records.
        path: The LMDB file to build.
        shortest_edge: Resize the images to it; None stores the files unchanged.
        quality: Quality of resized JPEGs, 1 to 100; None keeps that of the originals.
        decode_all: Check every image by decoding it; False leaves that out for usual JPEGs whose structure is whole.
        threads: Images read and checked at the same time.
        overwrite: Replace ``path`` if it exists.
        encode: Turns the bytes of a file into those to store, or raises ImageError; None for :func:`encoded_record`.

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
        decode_all: bool = False,
        threads: int = 1,
        overwrite: bool = False,
        encode: Callable[[bytes], bytes] | None = None,
    ) -> None:
        if shortest_edge is not None and shortest_edge < CROP:
            raise UsageError(f"The shortest edge is {shortest_edge}; expected at least {CROP}, the networks' input.")
        self._samples = samples.found
        self._encode = encode or partial(encoded_record, edge=shortest_edge, quality=quality, decode_all=decode_all)
        self._threads = threads
        self._quick = None if encode or decode_all or shortest_edge is not None else _sound_record
        self._writer = LmdbWriter(path, shortest_edge=shortest_edge, seed=samples.seed, overwrite=overwrite)
        self.refused: list[Refused] = list(samples.refused)

    @property
    def count(self) -> int:
        """Images stored so far."""
        return self._writer.count

    def __iter__(self) -> Generator[Progress, None, None]:
        meter = Meter(len(self._samples))
        outcomes = map_ahead(self._read, self._samples, threads=self._threads, name="build", quick=self._quick)
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
            return self._encode(read_image_file(sample.path))
        except ImageError as error:
            return error


def _sound_record(sample: Sample) -> bytes | None:
    """Return a usual JPEG whose structure is whole; None for any other file, which takes longer to check."""
    if sample.path.suffix.lower() not in _JPEGS:
        return None  # and not read twice
    try:
        data = read_image_file(sample.path)
    except ImageError:
        return None
    return data if is_sound(data) else None
