"""Find training photos that resemble measured ones, and leave them out, so that no photo serves both purposes.

    python assets/preview/copies.py PHOTOS MEASURED...

Compares every photo of PHOTOS with every one of the folders MEASURED: the whole photo, its centre square, and the
centre's inner 7/8, also mirrored, since data sets hold cropped photos. Two are alike if their grey values correlate by
more than 0.93 at 8 by 8 pixels and by more than 0.95 at 16 by 16. Objects on a plain background are alike by chance;
they are left out as well, which costs under 1 % of the photos. Deletes these training photos and lists them in
PHOTOS/excluded.csv: photo, measured photo, correlation. If stopped, the next run continues where it was.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from lowrank_demo.runtime.files import atomic_write
from lowrank_demo.runtime.progress import Meter, ProgressLine

COARSE, FINE = 8, 16
LEAST_COARSE, LEAST_FINE = 0.93, 0.95
INNER = 7 / 8
VIEWS = ((0, 0), (1, 1), (2, 2), (1, 2), (2, 1))
"""Which views are compared: of the training photo, of the measured one."""
BATCH = 1024
PHOTO = (".jpg", ".jpeg", ".png")


def main(photos: Path, folders: Sequence[Path]) -> None:
    """Compare all training photos with all measured ones, and delete those that are alike."""
    measured = sorted(file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in PHOTO)
    if not measured:
        raise SystemExit(f"There are no photos in {', '.join(map(str, folders))}; expected the measured ones.")
    trained = sorted(file for file in photos.rglob("*") if file.suffix.lower() in PHOTO)
    listed, mark = photos / "excluded.csv", photos / "copies.mark"
    run = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in measured]
    done = _marked(mark, run, trained)
    line, meter, alike = ProgressLine(), Meter(len(trained), done), 0
    with ProcessPoolExecutor() as pool:
        wanted = _greys(pool, measured)
        sides = [(_unit(_coarse(side)), _unit(side)) for side in (wanted, wanted[..., ::-1])]
        for start in range(done, len(trained), BATCH):
            part = trained[start : start + BATCH]
            found: dict[int, tuple[float, int]] = {}
            for place, other, value in _alike(_greys(pool, part), sides):
                found[place] = max(found.get(place, (0.0, 0)), (value, other))
            rows = [(part[place], measured[other], value) for place, (value, other) in sorted(found.items())]
            _list(
                listed, [(own.relative_to(photos).as_posix(), like.name, f"{value:.3f}") for own, like, value in rows]
            )
            for place in found:
                part[place].unlink()
            with atomic_write(mark) as temporary:
                kept = [file for file in trained[: start + len(part)] if file.exists()]
                temporary.write_text(f"{_digest([*run, *map(str, kept)])} {len(kept)}", encoding="utf-8")
            alike += len(found)
            line.show(meter.at(start + len(part)), f", {alike:,} alike")
    mark.unlink(missing_ok=True)
    print(f"{alike:,} of {len(trained):,} photos resemble measured ones.")


def _list(listed: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Add lines to the list. What was found before stays: those photos are not there to be found again."""
    before = listed.read_text(encoding="utf-8") if listed.exists() else ""
    with atomic_write(listed) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(before)
        csv.writer(file).writerows(rows)


def _marked(mark: Path, run: Sequence[str], trained: Sequence[Path]) -> int:
    """Return how many of the photos a stopped run has compared: none if there are other photos now."""
    if not mark.exists():
        return 0
    compared, count = mark.read_text(encoding="utf-8").split()
    done = int(count)
    return done if compared == _digest([*run, *map(str, trained[:done])]) else 0


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


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
    parser = argparse.ArgumentParser(description="Leave out training photos that resemble measured ones.")
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of the training photos")
    parser.add_argument("measured", type=Path, nargs="+", metavar="MEASURED", help="folders of the measured photos")
    arguments = parser.parse_args()
    main(arguments.photos, arguments.measured)
