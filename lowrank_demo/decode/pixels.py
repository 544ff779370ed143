"""Images to pixels, with Pillow alone: whatever the format, one image at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from ..errors import ImageError
from .base import CROP, EDGE, crop_box, damage_as_image_error, read_header, target_size
from .opening import opened

_LARGE_PIXELS, _LARGE_EDGE = 20_000_000, 4 * EDGE
"""Larger JPEGs are decoded at a fraction of their size, which takes a fraction of the time and memory."""
_WHITE = (255, 255, 255)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of an EXIF orientation upright. Pillow's own exif_transpose reads the EXIF data again, and fails
where it is damaged; the header's check takes such data as absent."""


def read_crop(data: bytes, max_pixels: int) -> np.ndarray:
    """Return what a network sees of an image file, upright: uint8 [227, 227, 3].

    Args:
        data: The bytes of the file.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        ImageError: The image cannot be used.
    """
    header = read_header(data, max_pixels)
    if header.width * header.height <= _LARGE_PIXELS:
        return crop_of(data, header.orientation)
    try:
        return crop_of(data, header.orientation, _LARGE_EDGE)
    except ImageError as error:  # where memory is limited, decoders report a lack of it as damage
        raise ImageError(
            "The photo is damaged, or takes too much memory to decode; expected a smaller one: make it smaller and try "
            "again."
        ) from error


def crop_of(data: bytes, orientation: int = 1, reduced_edge: int | None = None) -> np.ndarray:
    """Decode one image whose header was checked and crop it: uint8 [227, 227, 3].

    Transparent images get a white background, animations give their first frame, 16-bit grey keeps its high byte.

    Args:
        data: The bytes of the file.
        orientation: The EXIF orientation to undo, 1 to 8.
        reduced_edge: Decode a JPEG at half, a quarter or an eighth of its size, with no edge shorter than this.

    Raises:
        ImageError: The image is damaged.
    """
    image = load_image(data, reduced_edge)
    with damage_as_image_error():
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        return np.asarray(_crop(to_rgb(image)))


def load_image(data: bytes, reduced_edge: int | None = None) -> Image.Image:
    """Decode all of an image whose header was checked; see :func:`crop_of` for ``reduced_edge``.

    Raises:
        ImageError: The image is damaged.
    """

    def load(image: Image.Image) -> Image.Image:
        if reduced_edge is not None:
            image.draft(None, (reduced_edge, reduced_edge))
        image.load()
        return image

    with damage_as_image_error():
        return opened(data, load)


def check_image(data: bytes) -> None:
    """Check the data of an image whose header was checked.

    All data of a JPEG is read but decoded at an eighth of the size, which takes half the time.

    Raises:
        ImageError: The image is damaged.
    """
    load_image(data, 1)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any colour mode to RGB, with a white background; 16-bit grey keeps its high byte.

    Raises:
        ValueError: Pillow cannot convert this mode.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.max() <= 1 else 1  # most floating-point images run from 0 to 1
        image = Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    elif image.mode == "LAB":
        image = ImageCms.applyTransform(image, _lab_to_rgb()) or image
    elif image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        # The same pixels as Pillow's alpha_composite makes, in half the memory.
        image = Image.new("RGB", rgba.size, _WHITE)
        image.paste(rgba, mask=rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=1)
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB")


def _crop(image: Image.Image) -> Image.Image:
    """Resize the shortest edge to 256 and crop the central 227 x 227 pixels, computing only those."""
    box = crop_box(*image.size)
    if target_size(*image.size) == image.size:
        return image.crop(box)
    return image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=box)
