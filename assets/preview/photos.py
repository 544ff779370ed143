"""Prepares the bundled weights' training photos: ``python assets/preview/photos.py RAW PHOTOS``.

RAW holds the folders that the README lists, PHOTOS holds ``tiny`` (tiny-imagenet-200 as it comes), and the working
folder ``seen.csv`` from ``teacher.py``. Writes ``labels.csv`` and, below PHOTOS, ``sharp``: every labelled photo of
RAW, its shortest edge at most 160. Of Tiny-ImageNet's photos every other one is taken as it comes, the rest as
``clean.py``, which comes next, writes them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
EDGE = 160
MOST_SEEN = 300
"""Of the photos that only ``seen.csv`` labels, so many for each class."""
IMAGENETTE_TIMES, OTHERS_TIMES = 2, 4
"""So often each sharp photo comes in an epoch: two in five photos are sharp, and few of those are Imagenette's."""


def main(raw: Path, photos: Path) -> None:
    """Shrink, and write one line for each photo: its path below PHOTOS, its synset."""
    excluded = set((HERE / "excluded.txt").read_text().split())
    sharp = [(source, synset) for source, synset in _sharp(raw) if f"sharp/{source}.jpg" not in excluded]
    pairs = [(raw / source, photos / "sharp" / f"{source}.jpg") for source, _ in sharp]
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(_shrink, *zip(*pairs, strict=True), chunksize=64):
            pass
    labels: list[tuple[str, str]] = []
    for source, synset in sharp:
        times = IMAGENETTE_TIMES if source.startswith("imagenette/") else OTHERS_TIMES
        labels += [(f"sharp/{source}.jpg", synset)] * times
    for number, file in enumerate(sorted(photos.glob("tiny/train/*/images/*.JPEG"))):
        synset = file.parent.parent.name
        clean, tiny = f"clean/{synset}/{file.stem}.jpg", file.relative_to(photos).as_posix()
        if clean not in excluded:
            labels.append((tiny if number % 2 else clean, synset))
    Path("labels.csv").write_text("".join(f"{name},{synset}\n" for name, synset in labels))


def _sharp(raw: Path) -> Iterator[tuple[str, str]]:
    """Path below RAW and synset of each photo."""
    known = dict(line.split(",") for line in (HERE / "classes.csv").read_text().splitlines())
    known |= {f"imagenette/{folder.name}": folder.name for folder in (raw / "imagenette").iterdir()}
    for folder, synset in sorted(known.items()):
        for file in sorted((raw / folder).iterdir()):
            source = file.relative_to(raw).as_posix()
            yield source, synset
    counts: Counter[str] = Counter()
    for line in Path("seen.csv").read_text().splitlines():
        source, _, synset = line.rpartition(",")
        if source.rpartition("/")[0] not in known and counts[synset] < MOST_SEEN:
            counts[synset] += 1
            yield source, synset


def _shrink(source: Path, target: Path) -> None:
    """Write the photo with its shortest edge at ``EDGE`` or its own, unless that was done before."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        scale = min(1, EDGE / min(image.size))
        width, height = (round(side * scale) for side in image.size)
        small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    small.save(target, "JPEG", quality=95, subsampling="4:4:4")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
