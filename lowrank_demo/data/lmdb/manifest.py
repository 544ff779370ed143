"""The manifest beside a built LMDB file: what it holds and its SHA-256, which LMDB itself does not keep.

``<file>.manifest.json``, format 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import DataError
from ...runtime.files import atomic_write

_CHUNK = 1 << 22


@dataclass(frozen=True)
class Manifest:
    """What was built."""

    file: str
    count: int
    bytes: int
    sha256: str
    shortest_edge: int | None
    """Images were resized to this shortest edge on the way; None where they were stored as they are."""
    classes: Mapping[str, int]
    """Label -> number of images; JSON makes the labels text."""
    refused: int
    """Images that were left out as unreadable."""


def manifest_path(lmdb_file: Path) -> Path:
    """Where the manifest of a file lies."""
    return lmdb_file.with_name(lmdb_file.name + ".manifest.json")


def write_manifest(lmdb_file: Path, manifest: Manifest) -> None:
    """Write it beside the file, all or nothing."""
    target = manifest_path(lmdb_file)
    with atomic_write(target) as temporary:
        temporary.write_text(json.dumps({"format": 1, **asdict(manifest)}, indent=1), encoding="utf-8")


def read_manifest(lmdb_file: Path) -> Manifest:
    """Read the manifest beside the file.

    Raises:
        DataError: There is none, or it is damaged.
    """
    path = manifest_path(lmdb_file)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != 1:
            raise DataError(f"{path.name} has another format; expected 1.")
        return Manifest(**data)
    except FileNotFoundError as error:
        raise DataError(f"There is no {path.name}; expected the manifest that build-lmdb writes.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path.name} cannot be read; expected the manifest that build-lmdb writes.") from error


def verify(lmdb_file: Path) -> Manifest:
    """Compare a file with its manifest, reading all of it.

    Raises:
        DataError: It differs, or there is no manifest.
    """
    manifest = read_manifest(lmdb_file)
    found = file_sha256(lmdb_file)
    if found != manifest.sha256:
        raise DataError(
            f"{lmdb_file.name} has SHA-256 {found[:16]}…; its manifest says {manifest.sha256[:16]}…. It was changed or "
            "damaged since it was built: copy or build it again."
        )
    return manifest


def file_sha256(path: Path, on_chunk: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file in hex; ``on_chunk`` is told the bytes read so far."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if on_chunk:
                on_chunk(done)
    return digest.hexdigest()
