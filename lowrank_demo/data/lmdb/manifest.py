"""The manifest beside a built LMDB file, ``<file>.manifest.json``: contents and SHA-256, which LMDB does not keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import StrictInt

from ...errors import DataError
from ...runtime.files import file_sha256, write_synced
from ...runtime.schema import KnownKeys, matching, parse, read_json, within

_FORMAT = 1
_Count = Annotated[StrictInt, within(ge=0)]


@dataclass(frozen=True)
class Manifest(KnownKeys):
    """What a build wrote."""

    file: str
    count: _Count
    """Number of images."""
    bytes: _Count
    """Size of the file."""
    sha256: Annotated[str, matching(r"[0-9a-f]{64}", "64 lower-case hex digits")]
    shortest_edge: Annotated[StrictInt, within(ge=1)] | None
    """Shortest edge, in pixels, that images were resized to; None if they were stored unchanged."""
    classes: Mapping[str, _Count]
    """Number of images by label; the labels are strings because JSON has no other keys."""
    refused: _Count
    """Number of images left out because they could not be read or had no class."""
    seed: StrictInt | None = None
    """What the order of the images was shuffled with; None if it was not, and in files of older versions."""


def manifest_path(lmdb_file: Path) -> Path:
    """Return the path of a file's manifest."""
    return lmdb_file.with_name(lmdb_file.name + ".manifest.json")


def write_manifest(lmdb_file: Path, manifest: Manifest) -> None:
    """Write the manifest beside the file; a reader never finds a part of it, even after a power cut."""
    target = manifest_path(lmdb_file)
    # A name in another encoding holds what JSON cannot.
    name = manifest.file.encode("utf-8", "backslashreplace").decode("utf-8")
    values = {"format": _FORMAT, **vars(manifest), "file": name}
    write_synced(target, json.dumps(values, indent=1).encode())


def read_manifest(lmdb_file: Path) -> Manifest:
    """Read the manifest beside the file.

    Raises:
        DataError: There is none, or it is damaged; the message names the key.
    """
    path = manifest_path(lmdb_file)
    data = read_json(path, "the manifest that build-lmdb writes", DataError, format=_FORMAT)
    return parse(Manifest, data, path.name, DataError)


def verify(lmdb_file: Path) -> Manifest:
    """Read a whole file, compare it with its manifest, and return the manifest.

    Raises:
        DataError: They differ, or there is no manifest.
    """
    manifest = read_manifest(lmdb_file)
    found = file_sha256(lmdb_file)
    if found != manifest.sha256:
        raise DataError(
            f"{lmdb_file.name} has SHA-256 {found[:16]}…; its manifest says {manifest.sha256[:16]}…. It was changed or "
            "damaged after it was built: copy or build it again."
        )
    return manifest
