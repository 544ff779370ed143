"""Zips of photos, and the sets that are built from them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lowrank_demo.serve.uploads import LabelledFiles, Upload


def zipped(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write files, by their names in the archive, into a zip; return its path."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def uploaded(files: LabelledFiles, path: Path) -> Upload:
    """Build the set of a visitor's zip; return it."""
    *_, upload = files.building(path)
    assert isinstance(upload, Upload)
    return upload
