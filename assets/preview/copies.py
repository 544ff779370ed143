"""Find training photos that resemble measured ones, and leave them out, so that no photo serves both purposes.

    python assets/preview/copies.py PHOTOS MEASURED...

Compares every photo of PHOTOS with every one of the folders MEASURED: the whole photo, its centre square, and the
centre's inner 7/8, also mirrored, since data sets hold cropped photos. Two are alike if their grey values correlate by
more than 0.93 at 8 by 8 pixels and by more than 0.95 at 16 by 16. Objects on a plain background are alike by chance;
they are left out as well, which costs under 1 % of the photos. Deletes these training photos and lists them in
PHOTOS/excluded.csv: photo, measured photo, correlation.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from lowrank_demo.runtime.files import atomic_write

COARSE, FINE = 8, 16
LEAST_COARSE, LEAST_FINE = 0.93, 0.95
INNER = 7 / 8
VIEWS = ((0, 0), (1, 1), (2, 2), (1, 2), (2, 1))
"""Which views are compared: of the training photo, of the measured one."""
BATCH = 1024
PHOTO = (".jpg", ".jpeg", ".png")


def main(photos: Path, *folders: Path) -> None:
    """Compare all training photos with all measured ones, and delete those that are alike."""
    measured = sorted(file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in PHOTO)
    trained = sorted(file for file in photos.rglob("*") if file.suffix.lower() in PHOTO)
    with ProcessPoolExecutor() as pool:
        wanted = _greys(pool, measured)
        sides = [(_unit(_coarse(side)), _unit(side)) for side in (wanted, wanted[..., ::-1])]
        found: dict[int, tuple[float, int]] = {}
        for start in range(0, len(trained), BATCH):
            part = _greys(pool, trained[start : start + BATCH])
            for place, other, value in _alike(part, sides):
                found[start + place] = max(found.get(start + place, (0.0, 0)), (value, other))
            print(f"\r{min(start + BATCH, len(trained)):,} of {len(trained):,} photos, {len(found):,} alike", end="")
    listed = photos / "excluded.csv"
    with atomic_write(listed) as temporary:
        # What was found before stays listed: those photos are not there to be found again.
        before = listed.read_text(encoding="utf-8") if listed.exists() else ""
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(before)
            lines = csv.writer(file)
            for place, (value, other) in sorted(found.items()):
                lines.writerow([trained[place].relative_to(photos).as_posix(), measured[other].name, f"{value:.3f}"])
    for place in found:
        trained[place].unlink()
    print()


def _alike(part: np.ndarray, sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[int, int, float]]:
    """Yield places of a training and a measured photo that are alike, and their correlation."""
    coarse, fine = _unit(_coarse(part)), _unit(part)
    for other_coarse, other_fine in sides:
        for own, other in VIEWS:
            places, others = np.nonzero(coarse[:, own] @ other_coarse[:, other].T > LEAST_COARSE)
            values = np.einsum("nd,nd->n", fine[places, own], other_fine[others, other])
            for index in np.flatnonzero(values > LEAST_FINE):
                yield int(places[index]), int(others[index]), float(values[index])


def _greys(pool: ProcessPoolExecutor, files: Sequence[Path]) -> np.ndarray:
    """Return uint8 [files, views, 16, 16]."""
    return np.stack(list(pool.map(_views, files, chunksize=64)))


def _views(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        image.draft("L", (256, 256))
        grey = image.convert("RGB").convert("L")
    width, height = grey.size
    edge = min(grey.size)
    boxes: list[tuple[float, float, float, float]] = [(0, 0, width, height)]
    for side in (edge, edge * INNER):
        left, top = (width - side) / 2, (height - side) / 2
        boxes.append((left, top, left + side, top + side))
    return np.stack([np.asarray(grey.resize((FINE, FINE), Image.Resampling.BOX, box)) for box in boxes])


def _coarse(greys: np.ndarray) -> np.ndarray:
    share = FINE // COARSE
    return greys.reshape(*greys.shape[:2], COARSE, share, COARSE, share).mean((3, 5), dtype=np.float32)


def _unit(greys: np.ndarray) -> np.ndarray:
    """Return vectors of mean 0 and length 1, float32 [files, views, pixels]."""
    flat = greys.reshape(*greys.shape[:2], -1).astype(np.float32)
    flat -= flat.mean(2, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=2, keepdims=True), 1e-6)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
