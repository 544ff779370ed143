"""Zips of photos."""

from __future__ import annotations

import zipfile
from pathlib import Path


def zipped(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write files, by their names in the archive, into a zip; return its path."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
