"""What every decoder agrees on: the input pipeline, and what is looked at before any decoding.

Pipeline: RGB; shortest edge 256 by an antialiased bicubic filter (the one on which DALI and Pillow agree best; a no-op
for files resized beforehand, so serving and validating share it); centre crop 227, an odd margin rounded up; minus the
ImageNet mean, over the standard deviation; float32 NCHW.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image, UnidentifiedImageError
from pillow_heif import register_heif_opener
from torch import Tensor

from ..errors import ImageError

register_heif_opener()
Image.init()

CROP = 227
EDGE = 256
MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
"""Formats taken, told by content; names are Pillow's, whose JPEG reader also takes the MPO of phones."""
_FORMATS_TEXT = "a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC photo"
_DALI_MODES = {"JPEG": ("L", "RGB", "CMYK"), "MPO": ("L", "RGB"), "PNG": ("L", "P", "RGB", "I;16")}
_MOST_ELONGATED = 8
_ORIENTATION_TAG = 0x0112

# In entropy-coded data 0xFF is followed by 0x00 or a restart marker; anything else is the next segment's marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True)
class Header:
    """What a file says about itself, read without decoding it."""

    format: str
    width: int
    height: int
    orientation: int
    """EXIF orientation, 1 to 8; 1 where there is none."""
    dali: bool
    """Whether DALI decodes this kind exactly as Pillow does."""


@dataclass(frozen=True)
class Decoded:
    """A decoded batch: the images that could be read, and why the others could not."""

    pixels: Tensor
    """Float32 [k, 3, 227, 227], normalised."""
    rows: tuple[int, ...]
    """For each of the k rows, its position in the request."""
    decoders: tuple[str, ...]
    """For each of the k rows, the name of the decoder that read it."""
    refused: Mapping[int, ImageError]
    """Position in the request -> why this image cannot be used."""


class Decoder(Protocol):
    """Original file bytes in, normalised batch out."""

    @property
    def name(self) -> str:
        """``dali-gpu``, ``dali-cpu`` or ``pillow``."""
        ...

    def decode(self, images: Sequence[bytes], *, oriented: bool = True) -> Decoded:
        """Decode a batch of any size.

        Args:
            images: The files' bytes.
            oriented: Honour EXIF orientation, as for photos that people drop; not so in validation.
        """
        ...


def blank_jpeg(edge: int) -> bytes:
    """A square black photo, to try a decoder with."""
    file = io.BytesIO()
    Image.new("RGB", (edge, edge)).save(file, "JPEG")
    return file.getvalue()


def read_header(data: bytes, max_pixels: int) -> Header:
    """Check a file by its content, before it costs anything to decode.

    Raises:
        ImageError: It is empty, not an allowed format, too large, or a JPEG whose end is missing.
    """
    if not data:
        raise ImageError(f"The file is empty; expected {_FORMATS_TEXT}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"The photo has more than {max_pixels / 1e6:.0f} megapixels, the limit here; make it smaller and try again."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"The file is {_what_it_looks_like(data)}; expected {_FORMATS_TEXT}.") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on damaged headers
        raise ImageError(f"The file's header is damaged; expected {_FORMATS_TEXT}.") from error
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"The photo has {width} x {height} = {width * height / 1e6:.0f} megapixels; expected at most "
            f"{max_pixels / 1e6:.0f}: make it smaller and try again."
        )
    kind = image.format or ""
    if kind in ("JPEG", "MPO") and not _jpeg_is_whole(data):
        raise ImageError("The JPEG is cut off before its end; expected a whole file: copy or download it again.")
    exact = (
        image.mode in _DALI_MODES.get(kind, ())
        and "transparency" not in image.info
        and (kind == "MPO" or not getattr(image, "is_animated", False))
        and max(image.size) <= _MOST_ELONGATED * min(image.size)
    )
    return Header(kind, width, height, orientation if orientation in range(1, 9) else 1, exact)


def resized(width: int, height: int) -> tuple[int, int]:
    """(width, height) after the shortest edge is brought to 256; halves round up, as in DALI."""
    if width <= height:
        return EDGE, max(EDGE, math.floor(height * EDGE / width + 0.5))
    return max(EDGE, math.floor(width * EDGE / height + 0.5)), EDGE


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end-of-image marker follows the scans; a thumbnail's own marker does not count."""
    position = 2
    while 0 <= position < len(data) - 1:
        found = _NEXT_MARKER.search(data, position)
        if not found:
            return False
        marker, position = data[found.start() + 1], found.end()
        if marker == 0xD9:
            return True
        if marker not in (0x01, 0xD8):
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return False


def _what_it_looks_like(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if start.startswith((b"<svg", b"<?xml")):
        return "an SVG or XML text"
    if start.startswith(b"%pdf"):
        return "a PDF"
    if b"\0" not in data[:512]:
        return "a text"
    return "of an unknown format"
