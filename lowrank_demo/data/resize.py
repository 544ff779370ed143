"""Resize images to a given shortest edge, as ImageMagick's ``-resize 256x256^`` does.

Sizes equal ImageMagick's to the pixel. The filter is Lanczos for reducing and bicubic for enlarging. JPEGs keep their
quality (their quantisation tables), their chroma sampling, their colour profile, and their EXIF data with the
orientation. An image that already has the right size is copied byte for byte.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin

from ..decode.base import EDGE, read_header
from ..decode.pixels import load_image, to_rgb
from ..errors import ImageError, NotWritten, UsageError
from ..runtime.files import atomic_write
from ..runtime.outputs import check_folder
from ..runtime.parallel import map_ahead
from ..runtime.progress import Meter, Progress
from .image_file import MAX_PIXELS, read_image_file
from .walk import Refused, image_files

_MAX_JPEG_EDGE = 65_500
_MAX_JPEG_SEGMENT = 65_533
"""Largest number of bytes that one segment of a JPEG holds."""
_MAX_COMMENT = 60_000
"""Pillow's buffer holds 65,536 bytes of a comment and the tables before it."""
_ORIENTATION_TAG = 0x0112
_PNG_MODES = {"P": "RGB", "1": "L", "I": "I;16", "I;16B": "I;16", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
"""For each colour mode that cannot be resized smoothly or written, the mode in which PNGs are resized instead."""


def imagemagick_size(width: int, height: int, edge: int = EDGE) -> tuple[int, int]:
    """Return (width, height) with the shortest edge scaled to ``edge``, rounded as ImageMagick rounds."""
    scale = max(edge / width, edge / height)
    return max(1, math.floor(scale * width + 0.5)), max(1, math.floor(scale * height + 0.5))


def resize_bytes(
    data: bytes, edge: int = EDGE, max_pixels: int = MAX_PIXELS, *, quality: int | None = None, comment: str = ""
) -> bytes:
    """Return an encoded image resized so that its shortest edge is ``edge``.

    PNG stays PNG and JPEG stays JPEG (so does the MPO of phones); any other format becomes PNG, and a colour mode that
    PNGs do not have becomes RGB. The bytes are returned unchanged if the image already has the size.

    Args:
        data: The encoded image.
        edge: The shortest edge, in pixels.
        max_pixels: Largest image that is read or written.
        quality: Quality of JPEGs, 1 to 100; None keeps that of the original.
        comment: A text to write into the file if it is resized.

    Raises:
        ImageError: The image cannot be read, or has more than ``max_pixels``, or cannot be written at this size.
    """
    header = read_header(data, max_pixels)
    size = imagemagick_size(header.width, header.height, edge)
    if size == (header.width, header.height):
        return data
    kind = "JPEG" if header.format in ("JPEG", "MPO") else "PNG"
    if size[0] * size[1] > max_pixels or (kind == "JPEG" and max(size) > _MAX_JPEG_EDGE):
        limit = f"{_MAX_JPEG_EDGE:,} on a side of a JPEG" if kind == "JPEG" else f"{max_pixels:,} in all"
        raise ImageError(
            f"The photo has {header.width} x {header.height} pixels and would have {size[0]:,} x {size[1]:,}; expected "
            f"at most {limit}: crop it."
        )
    image = load_image(data)
    try:
        write = _write_jpeg if kind == "JPEG" else _write_png
        return write(image, size, header.orientation, quality, comment)
    except MemoryError:
        raise
    except Exception as error:  # it is all in memory, so it is this image that Pillow cannot convert or write
        raise ImageError(
            f"The photo, a {header.format} in colour mode {image.mode}, cannot be written as {kind} ({error}); save it "
            "as an ordinary JPEG or PNG."
        ) from error


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS if size[0] < image.width else Image.Resampling.BICUBIC)


def _write_jpeg(
    image: Image.Image, size: tuple[int, int], orientation: int, quality: int | None, comment: str
) -> bytes:
    options: dict[str, Any] = _metadata(image, orientation, _MAX_JPEG_SEGMENT)
    sampling = JpegImagePlugin.get_sampling(image)
    if sampling >= 0:
        options["subsampling"] = sampling
    if quality is not None:
        options["quality"] = quality
    elif isinstance(image, JpegImagePlugin.JpegImageFile):
        options["qtables"] = _tables(image)
    if comment:
        text = comment.encode()
        options["extra"] = b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text
    if len(image.info.get("comment", b"")) > _MAX_COMMENT:
        options["comment"] = b""  # else Pillow keeps it
    file = io.BytesIO()
    _resized(image, size).save(file, "JPEG", **options)
    return file.getvalue()


def _write_png(image: Image.Image, size: tuple[int, int], orientation: int, quality: int | None, comment: str) -> bytes:
    options: dict[str, Any] = _metadata(image, orientation, None)
    mode = _PNG_MODES.get(image.mode, image.mode)
    if image.mode in ("P", "1") and image.has_transparency_data:
        mode = "RGBA"
    if mode not in ("L", "LA", "I;16", "RGB", "RGBA"):
        image = to_rgb(image)
        options.pop("icc_profile", None)  # it describes the colours of the other mode
    elif mode != image.mode:
        image = image.convert(mode)
    if comment:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", comment)
    file = io.BytesIO()
    _resized(image, size).save(file, "PNG", **options)
    return file.getvalue()


def _metadata(image: Image.Image, orientation: int, longest: int | None) -> dict[str, Any]:
    """Return the colour profile and EXIF data to keep; of EXIF data longer than ``longest``, only the orientation."""
    kept: dict[str, Any] = {key: image.info[key] for key in ("exif", "icc_profile") if image.info.get(key)}
    if longest is not None and len(kept.get("exif", b"")) > longest:
        kept["exif"] = Image.Exif()
        kept["exif"][_ORIENTATION_TAG] = orientation
    return kept


def _tables(image: JpegImagePlugin.JpegImageFile) -> list[list[int]]:
    """Return the quantisation tables of the components to write; Pillow gives the last one to the others."""
    tables = [list(image.quantization[number]) for *_, number in image.layer]
    if len(tables) != 3:
        return tables[:1]  # Pillow writes CMYK without luminance
    return tables[:2] if tables[1] == tables[2] else tables


def _own_files(files: Sequence[Path], source: Path) -> list[Path]:
    """Return the files that paths in a folder lead to, each once.

    Raises:
        UsageError: One of them lies outside the folder.
    """
    real = {Path(os.path.realpath(path)): path for path in files}
    for target, path in real.items():
        if not target.is_relative_to(source):
            raise UsageError(
                f"{path} leads to {target}, outside {source}: --in-place would change what others may use; use --to."
            )
    return sorted(real)


def _check_apart(files: Sequence[Path], target: Path) -> None:
    """Refuse a target folder that a link in the source leads to: resized files would be resized again."""
    for path in files:
        if Path(os.path.realpath(path)).is_relative_to(target):
            raise UsageError(f"{path} leads into {target}, where the resized files go; remove the link.")


def _present(target: Path) -> bytes:
    """Return what an earlier run wrote; nothing if there is no such file or it cannot be read."""
    try:
        return target.read_bytes()
    except OSError:
        return b""


class FolderResize:
    """A resize of all images in a folder. Iterate over it to do the work; it yields progress.

    Files keep their names, even where :func:`resize_bytes` changes the format. Each file is written atomically. Links
    are followed. In place, the file that links lead to is resized once; otherwise no original is overwritten. A second
    run skips the files that are done: exact copies, and files with a comment that says they were made from the same
    source with the same settings. ``skipped`` counts them. ``refused`` lists what could not be read or resized.

    Args:
        source: Folder with images, searched with its subfolders.
        target: Folder for the resized files; None resizes in place.
        edge: The shortest edge.
        quality: Quality of JPEGs, 1 to 100; None keeps that of the originals.
        threads: Images resized at the same time.

    Raises:
        UsageError: The source is not a folder or holds no images; the target is the source, lies inside it or cannot
            be written; or a link in the source leads out of it (in place) or into the target (otherwise).
    """

    def __init__(
        self, source: Path, target: Path | None, *, edge: int = EDGE, quality: int | None = None, threads: int = 1
    ) -> None:
        source, target = source.resolve(), target.resolve() if target else None
        if target == source:
            raise UsageError(f"{target} is the folder of the originals; expected another one, or --in-place.")
        if target and target.is_relative_to(source):
            raise UsageError(f"{target} lies inside {source}; expected a folder beside it, or --in-place.")
        self._source, self._target, self._edge, self._threads = source, target, edge, threads
        self._quality = quality
        images = image_files(source)
        if not images.files:
            raise UsageError(f"There are no images in {source}; expected a folder with images.")
        if target is None:
            self.files: Sequence[Path] = _own_files(images.files, source)
        else:
            self.files = images.files
            _check_apart(self.files, target)
        check_folder(target or source, target or source)
        self.refused: list[Refused] = list(images.refused)
        self.resized = 0
        self.skipped = 0

    def __iter__(self) -> Iterator[Progress]:
        meter = Meter(len(self.files))
        with closing(map_ahead(self._resize, self.files, threads=self._threads, name="resize")) as outcomes:
            for done, (path, outcome) in enumerate(outcomes, start=1):
                if isinstance(outcome, ImageError):
                    self.refused.append(Refused(path, str(outcome)))
                elif outcome:
                    self.resized += 1
                else:
                    self.skipped += 1
                yield meter.at(done)

    def _resize(self, path: Path) -> bool | ImageError:
        """Return whether the file had to be written, or why it cannot be read."""
        try:
            target = self._target_of(path)
            data = read_image_file(path)
            comment = "" if self._target is None else self._comment(data)
            present = data if self._target is None else _present(target)
            if comment and comment.encode() in present:
                return False
            resized = resize_bytes(data, self._edge, quality=self._quality, comment=comment)
        except ImageError as error:
            return error
        if resized == present:
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as temporary:
                temporary.write_bytes(resized)
                shutil.copymode(path, temporary)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return ImageError("Its name is too long: a few bytes are added to it while it is written; shorten it.")
            mend = "free some space" if error.errno == errno.ENOSPC else "fix that"
            raise NotWritten(
                f"{target} could not be written ({error.strerror}); {mend} and run the same command again."
            ) from error
        return True

    def _target_of(self, path: Path) -> Path:
        """Return where a file goes. A link at the target is followed, and the file that it leads to is replaced.

        Raises:
            ImageError: An original is there.
        """
        if self._target is None:
            return path
        target = Path(os.path.realpath(self._target / path.relative_to(self._source)))
        if target.is_relative_to(self._source) or target == Path(os.path.realpath(path)):
            raise ImageError(f"A link in {self._target} leads to an original, {target}; remove the link.")
        return target

    def _comment(self, data: bytes) -> str:
        """Return what a file made from this source with these settings says about itself."""
        quality = "the original quality" if self._quality is None else f"quality {self._quality}"
        return f"lowrank-demo resize: edge {self._edge}, {quality}, from SHA-256 {hashlib.sha256(data).hexdigest()}"
