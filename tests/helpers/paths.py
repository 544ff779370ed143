"""Where things are."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ROOT / "tests" / "files"
SHARED_LMDB = ROOT.parent / "shared" / "data" / "imagenette_400.lmdb"
"""400 real images in a file that the original release's tool built; not part of the repository."""


def touch(root: Path, *names: str) -> Path:
    """Make empty files below a folder, with their folders, and return the folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
