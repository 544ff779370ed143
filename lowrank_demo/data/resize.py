"""Resize images to a given shortest edge, as ImageMagick's ``-resize 256x256^`` does.

Sizes equal ImageMagick's to the pixel. The filter is Lanczos for reducing and bicubic for enlarging. JPEGs are written
at quality 92; they keep their chroma sampling, their colour profile, and their EXIF data with the orientation. An image
that already has the right size is copied byte for byte.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, JpegImagePlugin

from ..decode.base import EDGE, read_header
from ..decode.pillow import load_image
from ..errors import ImageError, UsageError
from ..runtime.files import atomic_write
from ..runtime.outputs import check_folder
from ..runtime.parallel import map_ahead
from ..runtime.progress import Meter, Progress
from .samples import image_files

JPEG_QUALITY = 92
MAX_PIXELS = 256_000_000


@dataclass(frozen=True)
class Refused:
    """An image that was left out, and why."""

    path: Path
    reason: str


def imagemagick_size(width: int, height: int, edge: int = EDGE) -> tuple[int, int]:
    """Return (width, height) with the shortest edge scaled to ``edge``, rounded as ImageMagick rounds."""
    scale = max(edge / width, edge / height)
    return max(1, math.floor(scale * width + 0.5)), max(1, math.floor(scale * height + 0.5))


def read_image_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"The file cannot be read ({error.strerror}); expected an image.") from error


def resize_bytes(data: bytes, edge: int = EDGE, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return an encoded image resized so that its shortest edge is ``edge``.

    PNG stays PNG and JPEG stays JPEG (so does the MPO of phones); any other format becomes PNG. The bytes are returned
    unchanged if the image already has the size.

    Raises:
        ImageError: The image cannot be read, or has more than ``max_pixels``.
    """
    header = read_header(data, max_pixels)
    size = imagemagick_size(header.width, header.height, edge)
    if size == (header.width, header.height):
        return data
    return _encode(load_image(data), size)


def _encode(image: Image.Image, size: tuple[int, int]) -> bytes:
    options: dict[str, object] = {k: image.info[k] for k in ("exif", "icc_profile") if image.info.get(k)}
    kind = "JPEG" if image.format in ("JPEG", "MPO") else "PNG"
    if kind == "JPEG":
        sampling = JpegImagePlugin.get_sampling(image)
        options |= {"quality": JPEG_QUALITY, **({"subsampling": sampling} if sampling >= 0 else {})}
    if image.mode in ("P", "1"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    smaller = size[0] < image.width
    resized = image.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)
    file = io.BytesIO()
    resized.save(file, kind, **options)
    return file.getvalue()


class FolderResize:
    """A resize of all images in a folder. Iterate over it to do the work; it yields progress.

    Files keep their names, even where :func:`resize_bytes` changes the format. Each file is written atomically. A
    second run skips the files that are done: ``skipped`` counts them. ``refused`` lists the images that could not be
    read.

    Args:
        source: Folder with images, searched with its subfolders.
        target: Folder for the resized files; the source itself resizes in place.
        edge: The shortest edge.
        threads: Images resized at the same time.

    Raises:
        UsageError: The source is not a folder or holds no images, the target lies inside the source, or it
            cannot be written.
    """

    def __init__(self, source: Path, target: Path, *, edge: int = EDGE, threads: int = 1) -> None:
        source, target = source.resolve(), target.resolve()
        if target != source and target.is_relative_to(source):
            raise UsageError(f"{target} lies inside {source}; expected a folder beside it, or --in-place.")
        self._source, self._target, self._edge, self._threads = source, target, edge, threads
        self.files = image_files(source)
        if not self.files:
            raise UsageError(f"There are no images in {source}; expected a folder with images.")
        check_folder(target, target)
        self.refused: list[Refused] = []
        self.skipped = 0

    def __iter__(self) -> Iterator[Progress]:
        meter = Meter(len(self.files))
        with closing(map_ahead(self._resize, self.files, threads=self._threads, name="resize")) as outcomes:
            for done, (path, outcome) in enumerate(outcomes, start=1):
                if isinstance(outcome, ImageError):
                    self.refused.append(Refused(path, str(outcome)))
                elif not outcome:
                    self.skipped += 1
                yield meter.at(done)

    def _resize(self, path: Path) -> bool | ImageError:
        """Return whether the file had to be written, or why it cannot be read."""
        target = self._target / path.relative_to(self._source)
        if target != path and target.exists() and target.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            return False
        try:
            data = read_image_file(path)
            resized = resize_bytes(data, self._edge)
        except ImageError as error:
            return error
        if resized is data and target == path:
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as temporary:
                temporary.write_bytes(resized)
                shutil.copymode(path, temporary)
        except OSError as error:
            raise UsageError(
                f"{target} could not be written ({error.strerror}); free some space and run the same command again."
            ) from error
        return True
