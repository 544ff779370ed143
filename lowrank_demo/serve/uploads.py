"""A visitor's labelled set: a zip of class-named folders to a temporary LMDB file, bounded in every size."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..data.build import LmdbBuild
from ..data.resize import Refused
from ..data.samples import EXTENSIONS, class_folder_samples, label_of
from ..decode.base import EDGE
from ..errors import DataError, UsageError

MOST_PHOTOS = 5_000
_MOST_UNPACKED = 4
"""Times the zip's own allowed size."""


@dataclass(frozen=True)
class Built:
    """What an uploaded set became."""

    path: Path
    count: int
    refused: Sequence[Refused]


def build_from_zip(zip_file: Path, target: Path, *, max_file_mb: int, max_zip_mb: int, threads: int) -> Built:
    """Build an LMDB file from a zip whose photos lie in folders named by class, resized to shortest edge 256.

    Raises:
        UsageError: It is too large, holds no photo, or a folder is not named by a class.
        DataError: It is not a zip, or is damaged.
    """
    size = zip_file.stat().st_size
    if size > max_zip_mb * 1_000_000:
        raise UsageError(f"The zip has {size / 1e6:.0f} MB; expected at most {max_zip_mb}.")
    folder = Path(tempfile.mkdtemp(prefix="lowrank-upload-"))
    try:
        try:
            with zipfile.ZipFile(zip_file) as archive:
                _unpack(archive, folder, max_file_mb * 1_000_000, _MOST_UNPACKED * max_zip_mb * 1_000_000)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
            raise DataError("The file is not a zip that can be read; expected a zip of class-named folders.") from error
        building = LmdbBuild(class_folder_samples(folder), target, shortest_edge=EDGE, threads=threads)
        for _ in building:
            pass
        # The temporary names mean nothing to the visitor.
        refused = [Refused(Path(item.path.name), item.reason) for item in building.refused]
        return Built(target, building.count, refused)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(archive: zipfile.ZipFile, folder: Path, max_file: int, max_total: int) -> None:
    """Write the photos as ``<label>/<number>-<name>``: no path in the archive reaches the file system."""
    photos = [item for item in archive.infolist() if _is_photo(item)]
    if not photos:
        raise UsageError("The zip holds no photo; expected photos in folders named by class, such as lion/1.jpg.")
    if len(photos) > MOST_PHOTOS:
        raise UsageError(f"The zip holds {len(photos):,} photos; expected at most {MOST_PHOTOS:,}.")
    total = 0
    for number, item in enumerate(photos):
        path = PurePosixPath(item.filename)
        label = label_of(path.parent.name)
        if label is None:
            raise UsageError(
                f"{item.filename[:80]} lies in no class folder; expected one named by a synset id (n02129165), an "
                "index (291) or a class name (lion)."
            )
        target = folder / str(label) / f"{number:05d}{path.suffix.lower()}"
        target.parent.mkdir(exist_ok=True)
        # Sizes in the archive's directory may lie: what is read is what counts.
        with archive.open(item) as source:
            data = source.read(max_file + 1)
        total += len(data)
        if len(data) > max_file:
            raise UsageError(f"{item.filename[:80]} is larger than {max_file / 1e6:.0f} MB; make it smaller.")
        if total > max_total:
            raise UsageError(f"The zip unpacks to more than {max_total / 1e6:.0f} MB; send it in parts.")
        target.write_bytes(data)


def _is_photo(item: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(item.filename)
    hidden = any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in path.parts)
    return not item.is_dir() and not hidden and path.suffix.lower() in EXTENSIONS
