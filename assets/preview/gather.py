"""Gather the training photos: fetch the repositories that sources.csv lists, and shrink their photos.

    python assets/preview/gather.py PHOTOS [--host https://github.com]

Writes PHOTOS/<folder>/<number>.jpg, the shortest edge at most 256 pixels. Leaves out photos with an edge under 48
pixels or with one edge over four times the other, drawings, and duplicates. A second run continues where the first
stopped, and tries again to fetch what could not be fetched. Needs git, and 5 GB of disk.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import random
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from repository import NotFetched, Snapshot

from lowrank_demo.runtime.files import atomic_write
from lowrank_demo.runtime.progress import Meter, duration

HERE = Path(__file__).parent
EDGE, SMALLEST, LONGEST, QUALITY = 256, 48, 4, 90
FEWEST_COLOURS = 24
"""An image with fewer of the 4096 coarse colours, among 48 by 48 pixels, is a drawing."""
_PHOTO = re.compile(r"\.(jpe?g|png|bmp|webp|jfif)$", re.IGNORECASE)
_NOT_PHOTOS = re.compile(
    r"ILSVRC2012_val_|(^|/)(\.|__MACOSX|masks?/|SegmentationClass|SegmentationObject|annotations?/|groundtruth|contours?)"
    r"|contour|_mask\.|_seg\.",
    re.IGNORECASE,
)
_TURNS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Source:
    """A line of sources.csv."""

    folder: str
    repository: str
    commit: str
    paths: str
    """Folders of the repository, separated by ``|``; empty for the whole repository."""
    photos: str
    """Largest number of photos to take."""
    licence: str
    description: str


def main(photos: Path, host: str, listed: Path) -> None:
    """Take one source after another."""
    with listed.open(encoding="utf-8", newline="") as file:
        sources = [Source(**row) for row in csv.DictReader(file)]
    photos.mkdir(parents=True, exist_ok=True)
    digests = {source.folder: photos / f"{source.folder}.digests" for source in sources}
    left = {source.folder: int(source.photos) for source in sources if not digests[source.folder].exists()}
    meter, done = Meter(sum(left.values())), 0
    # All that is known already, also of sources further down: one that comes back must not repeat their photos.
    seen = {one for known in digests.values() if known.exists() for one in known.read_text(encoding="utf-8").split()}
    missing: list[str] = []
    for number, source in enumerate(sources, start=1):
        target, known = photos / source.folder, digests[source.folder]
        if not known.exists():
            try:
                fresh = _gather(source, host, target, seen)
            except NotFetched as error:
                missing.append(source.folder)
                shutil.rmtree(target)
                print(f"{number} of {len(sources)}: {error}", flush=True)
                continue
            finally:
                done += left[source.folder]
            with atomic_write(known) as temporary:
                temporary.write_text("\n".join(fresh), encoding="utf-8")
        seen.update(known.read_text(encoding="utf-8").split())
        count = sum(1 for _ in target.glob("*.jpg"))
        seconds = meter.at(done).seconds_left
        time_left = f", {duration(seconds)} left" if seconds else ""
        print(f"{number} of {len(sources)}: {source.folder}, {count:,} photos{time_left}", flush=True)
    if len(missing) == len(sources):
        raise SystemExit("No repository could be fetched; check the network, then start again.")
    if missing:
        print(f"{len(missing)} of {len(sources)} repositories could not be fetched: {', '.join(missing)}.")


def _gather(source: Source, host: str, target: Path, seen: set[str]) -> list[str]:
    """Write the photos of one source; return the digests of their pixels."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    fresh: list[str] = []
    with tempfile.TemporaryDirectory(dir=target.parent) as clone:
        snapshot = Snapshot(f"{host}/{source.repository}", source.commit, Path(clone))
        files = [
            (path, content)
            for path, content in snapshot.files(source.paths.split("|"))
            if _PHOTO.search(path) and not _NOT_PHOTOS.search(path)
        ]
        ordered = dict.fromkeys(content for _, content in _ordered(files, source.folder))
        for data in snapshot.read(ordered):
            if len(fresh) == int(source.photos):
                break
            pixels = shrunk(data)
            if pixels is None:
                continue
            digest = hashlib.md5(pixels.tobytes() + str(pixels.size).encode(), usedforsecurity=False).hexdigest()
            if digest in seen or digest in fresh or _is_drawing(pixels):
                continue
            pixels.save(target / f"{len(fresh):06d}.jpg", quality=QUALITY)
            fresh.append(digest)
    return fresh


def _ordered(files: Sequence[tuple[str, str]], seed: str) -> list[tuple[str, str]]:
    """Return one photo of each folder, then a second of each, and so on, so that a part of them has every kind."""
    folders: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, blob in sorted(set(files)):
        folders[path.rpartition("/")[0]].append((path, blob))
    chance = random.Random(seed)
    groups = [folders[name] for name in sorted(folders)]
    for group in groups:
        chance.shuffle(group)
    longest = max((len(group) for group in groups), default=0)
    return [group[place] for place in range(longest) for group in groups if place < len(group)]


def shrunk(data: bytes) -> Image.Image | None:
    """Return a photo in RGB, its shortest edge at most 256 pixels; None if it is not a photo, or unfit."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            shortest, longest = min(image.size), max(image.size)
            if shortest < SMALLEST or longest > LONGEST * shortest or image.mode.startswith(("I", "F")):
                return None
            scale = min(1.0, EDGE / shortest)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            if scale < 1:
                image.draft("RGB", size)
            pixels = _on_white(image) if "A" in image.mode or "transparency" in image.info else image.convert("RGB")
            turn = image.getexif().get(_ORIENTATION) if image.format == "JPEG" else None
    except Exception:  # Pillow raises many kinds on damaged files
        return None
    if scale < 1:
        pixels = pixels.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return pixels.transpose(_TURNS[turn]) if turn in _TURNS else pixels


def _on_white(image: Image.Image) -> Image.Image:
    layers = image.convert("RGBA")
    white = Image.new("RGBA", layers.size, "white")
    white.alpha_composite(layers)
    return white.convert("RGB")


def _is_drawing(image: Image.Image) -> bool:
    coarse = np.asarray(image.resize((48, 48), Image.Resampling.NEAREST)).astype(int) >> 4
    return len(np.unique(coarse @ [256, 16, 1])) < FEWEST_COLOURS


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Gather the training photos.")
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder for the photos")
    parser.add_argument("--host", default="https://github.com", help="where the repositories are")
    parser.add_argument("--sources", type=Path, default=HERE / "sources.csv", help="default: sources.csv beside this")
    arguments = parser.parse_args()
    main(arguments.photos, arguments.host, arguments.sources)
