"""Shows training photos that resemble measured ones: ``python assets/preview/copies.py PHOTOS LABELS MEASURED...``.

LABELS is the list that ``photos.py`` wrote, of paths below PHOTOS; MEASURED are folders of photos. Writes
``copies.html``: the pairs alike both in their coarse and in their fine structure, one photo perhaps mirrored, the most
alike first. Things before a plain background are alike by chance; which pairs are copies a look tells, and those belong
in ``excluded.txt``. Needs 4 GB of memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from html import escape
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

EDGE, COARSE, BATCH = 32, 8, 1024
LEAST_COARSE, LEAST_FINE = 0.9, 0.5
"""Correlations of what is left at 8 by 8 pixels, and of what is lost between 32 by 32 and those."""
PHOTOS = (".jpg", ".jpeg", ".png")


def main(photos: Path, labels: Path, *folders: Path) -> None:
    """Compare all with all."""
    names = sorted({line.rpartition(",")[0] for line in labels.read_text().splitlines()})
    trained = [photos / name for name in names]
    measured = sorted(file for folder in folders for file in folder.rglob("*.*") if file.suffix.lower() in PHOTOS)
    with ProcessPoolExecutor() as pool:
        found = sorted(_alike(_grey(pool, trained), _grey(pool, measured)), reverse=True)
    rows = (_row(value, trained[one], measured[other]) for value, one, other in found)
    Path("copies.html").write_text(f"<!doctype html><meta charset=utf-8><title>Copies</title>{''.join(rows)}")
    print(f"{len(names):,} training photos, {len(measured):,} measured ones, pairs to look at: {len(found):,}")


def _alike(trained: Tensor, measured: Tensor) -> Iterator[tuple[float, int, int]]:
    """The product of the correlations, and the two places, of each pair."""
    sides = [_structure(measured), _structure(measured.flip(3))]
    for start in range(0, len(trained), BATCH):
        coarse, fine = _structure(trained[start : start + BATCH])
        for other_coarse, other_fine in sides:
            fine_found = fine @ other_fine.T
            for one, other in (fine_found > LEAST_FINE).nonzero().tolist():
                coarse_found = float(coarse[one] @ other_coarse[other])
                if coarse_found > LEAST_COARSE:
                    yield coarse_found * float(fine_found[one, other]), start + one, other


def _structure(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of length 1 from uint8 [n, 1, 32, 32]: float32 [n, 64] of the coarse and [n, 1024] of the fine values."""
    values = grey.float()
    coarse = F.avg_pool2d(values, EDGE // COARSE)
    fine = values - F.interpolate(coarse, size=EDGE, mode="bilinear")
    level = coarse.flatten(1)
    return F.normalize(level - level.mean(1, keepdim=True)), F.normalize(fine.flatten(1))


def _grey(pool: ProcessPoolExecutor, files: Sequence[Path]) -> Tensor:
    """Uint8 [n, 1, 32, 32]."""
    return torch.from_numpy(np.stack(list(pool.map(_read, files, chunksize=256))))[:, None]


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        image.draft("L", (2 * EDGE, 2 * EDGE))
        small = image.convert("RGB").convert("L").resize((EDGE, EDGE), Image.Resampling.BOX)
    return np.asarray(small)


def _row(value: float, *files: Path) -> str:
    shown = "".join(f'<img height=150 src="{escape(file.resolve().as_uri())}"> ' for file in files)
    return f"<p>{shown}<br>{value:.3f} {' and '.join(escape(str(file)) for file in files)}</p>"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
