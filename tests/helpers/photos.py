"""Real photos: those that the gradio package ships."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

from PIL import Image


def photo_path(name: str = "lion.jpg") -> Path:
    """Return the path of a photo; finds gradio's folder without the seconds that importing gradio takes."""
    found = importlib.util.find_spec("gradio")
    assert found
    assert found.origin
    path = Path(found.origin).parent / "media_assets" / "images" / name
    assert path.is_file(), path
    return path


def open_photo(name: str = "cheetah.jpg") -> Image.Image:
    """Return a photo in RGB."""
    return Image.open(photo_path(name)).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file of this kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
