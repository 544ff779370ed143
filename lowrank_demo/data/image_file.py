"""Image files of this machine's owner: how large they may be, and their bytes."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ImageError

MAX_PIXELS = 256_000_000
_MAX_BYTES = 8 * MAX_PIXELS
"""As many as four colours of 16 bits take, not compressed."""


def read_image_file(path: Path) -> bytes:
    """Return the bytes of an image file.

    Raises:
        ImageError: The file cannot be read, or is larger than any image that is accepted.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES:
                raise ImageError(
                    f"The file has {size / 1e6:,.0f} MB; expected an image of at most {_MAX_BYTES / 1e6:,.0f} MB."
                )
            return file.read()
    except OSError as error:
        raise ImageError(f"The file cannot be read ({error.strerror}); expected an image.") from error
    except ValueError as error:  # a zero byte in a path
        raise ImageError(f"The file cannot be read ({error}); expected an image.") from error
