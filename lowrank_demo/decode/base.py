"""What all decoders share: the input pipeline, and the checks of a file's header before it is decoded.

The pipeline converts to RGB, resizes the shortest edge to 256, crops the central 227 x 227 pixels (an odd margin is
rounded up), subtracts the ImageNet mean and divides by the standard deviation. The result is float32 NCHW. The filter
is an antialiased bicubic one, on which DALI and Pillow agree best. Files that already have the size are not resized, so
the app and validation share this pipeline.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from PIL import Image, UnidentifiedImageError

from ..errors import ImageError
from ..runtime.words import counted
from .markers import NEXT_MARKER, ORIENTATION_TAG
from .opening import opened, png_exif

if TYPE_CHECKING:
    from torch import Tensor

CROP = 227
"""Edge of the centre crop, in pixels."""
EDGE = 256
"""Shortest edge of an image before the crop, in pixels."""
MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
"""ImageNet's mean and standard deviation of R, G and B, for values from 0 to 255."""

_FORMATS_TEXT = "a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC photo"
_EXACT_DALI_MODES = {"JPEG": ("L", "RGB", "CMYK"), "MPO": ("L", "RGB"), "PNG": ("L", "P", "RGB", "I;16")}
_MAX_DALI_RATIO = 8
"""Ratio of the edges up to which DALI resizes exactly."""


@dataclass(frozen=True)
class Header:
    """What a file's header says, read without decoding the image."""

    format: str
    width: int
    height: int
    orientation: int
    """EXIF orientation, 1 to 8; 1 if the file states none, or if its EXIF data, which is optional, is damaged."""
    dali: bool
    """Whether DALI decodes this kind of file exactly as Pillow does."""


@dataclass(frozen=True)
class Decoded:
    """A decoded batch: k images that could be read, and the errors of the others."""

    pixels: Tensor
    """Float32 [k, 3, 227, 227], normalised."""
    rows: tuple[int, ...]
    """The position in the request of each of the k images."""
    decoders: tuple[str, ...]
    """The name of the decoder of each of the k images."""
    refused: Mapping[int, ImageError]
    """For each position in the request whose image could not be read, the error."""
    milliseconds: Mapping[int, float] = field(default_factory=dict)
    """For each position whose image was decoded on its own, how long that took; those decoded together have none."""


class Decoder(Protocol):
    """Decodes image files to a normalised batch."""

    @property
    def name(self) -> str:
        """``dali-gpu``, ``dali-cpu`` or ``pillow``."""
        ...

    def decode(self, images: Sequence[bytes], *, oriented: bool = True) -> Decoded:
        """Decode a batch of any size.

        Args:
            images: The bytes of the files.
            oriented: Apply the EXIF orientation. The app does so; validation and training do not.
        """
        ...


def blank_jpeg(edge: int) -> bytes:
    """Return a square black photo, to test a decoder with."""
    file = io.BytesIO()
    Image.new("RGB", (edge, edge)).save(file, "JPEG")
    return file.getvalue()


def read_header(data: bytes, max_pixels: int) -> Header:
    """Check a file by its content, before any time or memory goes into decoding it.

    Raises:
        ImageError: The file is empty, not in an accepted format, too large, or a JPEG that is cut off.
    """
    if not data:
        raise ImageError(f"The file is empty; expected {_FORMATS_TEXT}.")
    try:
        image = opened(data, lambda image: image)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"The photo has more than {counted(round(max_pixels / 1e6), 'megapixel')}, the limit here; make it smaller "
            "and try again."
        ) from error
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"The file is {_apparent_type(data)}; expected {_FORMATS_TEXT}.") from error
    except Exception as error:  # on damaged headers Pillow's parsers raise nearly any type
        raise ImageError(
            f"The file's header is damaged, or its size takes too much memory; expected {_FORMATS_TEXT}."
        ) from error
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"The photo has {width} x {height} = {counted(round(width * height / 1e6), 'megapixel')}; expected at most "
            f"{max_pixels / 1e6:.0f}: make it smaller and try again."
        )
    kind = image.format or ""
    if kind == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        # It may follow the pixels, and Pillow would decode these to look for it.
        image.info["exif"] = png_exif(data)
    if kind in ("JPEG", "MPO") and not _jpeg_is_whole(data):
        raise ImageError("The JPEG is cut off; expected a whole file: copy or download it again.")
    exact = (
        image.mode in _EXACT_DALI_MODES.get(kind, ())
        and "transparency" not in image.info
        and (kind == "MPO" or not getattr(image, "is_animated", False))
        and max(image.size) <= _MAX_DALI_RATIO * min(image.size)
    )
    orientation = _orientation(image)
    # DALI fails a whole batch for a file whose EXIF data is damaged.
    return Header(kind, width, height, orientation or 1, exact and orientation is not None)


def target_size(width: int, height: int) -> tuple[int, int]:
    """Return (width, height) with the shortest edge scaled to 256; halves round up, as in DALI."""
    if width <= height:
        return EDGE, max(EDGE, math.floor(height * EDGE / width + 0.5))
    return max(EDGE, math.floor(width * EDGE / height + 0.5)), EDGE


def centred(spare: int) -> int:
    """Return the offset of the central crop for this many spare pixels; an odd margin is rounded up."""
    return (spare + 1) // 2


def crop_box(width: int, height: int, offset: Callable[[int], int] = centred) -> tuple[float, float, float, float]:
    """Return what becomes 227 x 227 pixels once the shortest edge is 256: left, top, right and bottom in the image.

    Args:
        width: Width of the image.
        height: Its height.
        offset: Returns where the crop begins, given the number of spare pixels.
    """
    resized_width, resized_height = target_size(width, height)
    left, top = offset(resized_width - CROP), offset(resized_height - CROP)
    x, y = width / resized_width, height / resized_height
    return left * x, top * y, (left + CROP) * x, (top + CROP) * y


@contextlib.contextmanager
def damage_as_image_error() -> Iterator[None]:
    """Turn whatever Pillow raises on damaged files into an ImageError."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError("The photo is damaged and cannot be decoded; expected a whole file: copy it again.") from error


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, 1 to 8, which is 1 if the file states none; None if its EXIF data is damaged."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except MemoryError:
        raise
    except Exception:  # Pillow raises nearly any type
        return None
    return orientation if orientation in range(1, 9) else 1


def _jpeg_is_whole(data: bytes) -> bool:
    """Return whether an end-of-image marker follows the scans; that of an embedded thumbnail does not count."""
    position = 2
    while 0 <= position < len(data) - 1:
        found = NEXT_MARKER.search(data, position)
        if not found:
            return False
        marker, position = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return True
        if marker not in (0x01, 0xD8):
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return False


def _apparent_type(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if start.startswith((b"<svg", b"<?xml")):
        return "an SVG or XML text"
    if start.startswith(b"%pdf"):
        return "a PDF"
    if b"\0" not in data[:512]:
        return "a text file"
    return "of an unknown format"
