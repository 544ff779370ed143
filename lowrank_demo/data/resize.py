"""Resizing images so that the shortest edge is 256, as ImageMagick's ``-resize 256x256^`` does.

Sizes are ImageMagick's to the pixel; the filter is Lanczos for reducing and bicubic for enlarging. JPEGs are written at
quality 92 with the chroma sampling they came with, and keep their EXIF (with the orientation) and colour profile. An
image that has the size already is copied as it is, byte for byte.
"""

from __future__ import annotations

import io
import math
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, JpegImagePlugin

from ..decode.base import EDGE, read_header
from ..decode.pillow import load_image
from ..errors import ImageError, UsageError
from ..runtime.progress import Meter, Progress
from .samples import image_files

JPEG_QUALITY = 92
MAX_PIXELS = 256_000_000
_TEMPORARY = ".resizing-"


@dataclass(frozen=True)
class Refused:
    """An image that was left out, and why."""

    path: Path
    reason: str


def resized_size(width: int, height: int, edge: int = EDGE) -> tuple[int, int]:
    """(width, height) with the shortest edge brought to ``edge``, rounded as ImageMagick rounds."""
    scale = max(edge / width, edge / height)
    return max(1, math.floor(scale * width + 0.5)), max(1, math.floor(scale * height + 0.5))


def resize_bytes(data: bytes, edge: int = EDGE, max_pixels: int = MAX_PIXELS) -> bytes:
    """One encoded image, resized and encoded in its own format (JPEG where that cannot be written).

    Raises:
        ImageError: It cannot be read, or is larger than ``max_pixels``.
    """
    header = read_header(data, max_pixels)
    size = resized_size(header.width, header.height, edge)
    if size == (header.width, header.height):
        return data
    return _encode(load_image(data), size)


def _encode(image: Image.Image, size: tuple[int, int]) -> bytes:
    options: dict[str, object] = {k: image.info[k] for k in ("exif", "icc_profile") if image.info.get(k)}
    kind = image.format or "JPEG"
    if kind in ("JPEG", "MPO"):
        sampling = JpegImagePlugin.get_sampling(image)
        options |= {"quality": JPEG_QUALITY, **({"subsampling": sampling} if sampling >= 0 else {})}
        kind = "JPEG"
    elif kind != "PNG":
        kind = "PNG"
    if image.mode in ("P", "1"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    smaller = size[0] < image.width
    resized = image.resize(size, Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)
    file = io.BytesIO()
    resized.save(file, kind, **options)
    return file.getvalue()


class Resizing:
    """Resizes a folder of images, in parallel, file by file whole or not at all.

    Iterating does the work and yields progress; what could not be read is in ``refused`` afterwards. A second run skips
    what is done. Images whose content is not what their extension says are written in their own format all the same,
    except that formats other than JPEG and PNG become PNG.

    Args:
        source: Folder with images, searched with its subfolders.
        target: Folder for the same names; the source itself resizes in place.
        edge: The shortest edge.
        threads: Images worked on at the same time.

    Raises:
        UsageError: The source is not a folder, or holds no image, or the target lies inside it.
    """

    def __init__(self, source: Path, target: Path, *, edge: int = EDGE, threads: int = 1) -> None:
        source, target = source.resolve(), target.resolve()
        if target != source and target.is_relative_to(source):
            raise UsageError(f"{target} lies inside {source}; expected a folder beside it, or --in-place.")
        self._source, self._target, self._edge, self._threads = source, target, edge, threads
        self.files = image_files(source)
        if not self.files:
            raise UsageError(f"There are no images in {source}; expected a folder with images.")
        self.refused: list[Refused] = []
        self.skipped = 0
        self._made: set[Path] = set()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Progress]:
        waiting = iter(self.files)
        running: set[Future[None]] = set()
        done = 0
        meter = Meter(len(self.files))
        with ThreadPoolExecutor(self._threads, thread_name_prefix="resize") as pool:
            try:
                while True:
                    # A few ahead, not all: stopping is then quick and a million files cost no memory.
                    while len(running) < 4 * self._threads and (path := next(waiting, None)):
                        running.add(pool.submit(self._one, path))
                    if not running:
                        return
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        future.result()
                    done += len(finished)
                    yield meter.at(done)
            finally:
                for future in running:
                    future.cancel()

    def _one(self, path: Path) -> None:
        target = self._target / path.relative_to(self._source)
        try:
            if target != path and target.exists() and target.stat().st_mtime_ns >= path.stat().st_mtime_ns:
                with self._lock:
                    self.skipped += 1
                return
            data = path.read_bytes()
            resized = resize_bytes(data, self._edge)
            if resized is data and target == path:
                with self._lock:
                    self.skipped += 1
                return
            self._write(target, resized, path)
        except ImageError as error:
            with self._lock:
                self.refused.append(Refused(path, str(error)))

    def _write(self, target: Path, data: bytes, source: Path) -> None:
        folder = target.parent
        if folder not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(f"{_TEMPORARY}*"):
                if not left.name.startswith(f"{_TEMPORARY}{os.getpid()}-"):
                    left.unlink(missing_ok=True)
            self._made.add(folder)
        temporary = folder / f"{_TEMPORARY}{os.getpid()}-{target.name}"
        try:
            temporary.write_bytes(data)
            shutil.copymode(source, temporary)
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UsageError(f"{target} could not be written ({error.strerror}); free space and run again.") from error
