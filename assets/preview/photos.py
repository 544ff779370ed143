"""Prepares the bundled weights' training photos: ``python assets/preview/photos.py RAW PHOTOS LABELS TIMES...``.

RAW holds the folders that ``sources.csv`` lists, PHOTOS holds ``tiny`` (tiny-imagenet-200 as it comes), and the working
folder ``seen.csv`` from ``teacher.py``. Writes, below PHOTOS, ``sharp``: every labelled photo of RAW, its shortest edge
at most 256; and LABELS, a line for each photo of an epoch. TIMES are four numbers: how many sharp photos come of each
of Tiny-ImageNet's classes that has any, and how often comes one of Imagenette, of anything else, and one whose label in
``seen.csv`` is uncertain. Of Tiny-ImageNet's photos every other one is taken as it comes, the rest as ``clean.py``,
which comes next, writes them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
EDGE = 256
BY_SYNSET = ("imagenette", "dogs", "mini")
"""Their folders are named by the synset of their photos; ``classes.csv`` gives that of others."""
MOST_SEEN, SURE = 300, 0.3
"""Of the photos that only ``seen.csv`` labels, so many for each class; labels less probable than this are uncertain."""
LEAST_OFTEN, MOST_OFTEN = 3, 20
"""The sharp photos of a class of Tiny-ImageNet's make up their number by coming so many times each."""


def main(raw: Path, photos: Path, output: Path, times: Sequence[int]) -> None:
    """Shrink, and write one line for each photo: its path below PHOTOS, its synset."""
    per_class, imagenette_times, other_times, unsure_times = times
    excluded = set((HERE / "excluded.txt").read_text().split())
    sharp = [one for one in _sharp(raw) if f"sharp/{one[0]}.jpg" not in excluded]
    pairs = [(raw / source, photos / "sharp" / f"{source}.jpg") for source, *_ in sharp]
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(_shrink, *zip(*pairs, strict=True), chunksize=64):
            pass
    labels: list[tuple[str, str]] = []
    of_tiny = {folder.name for folder in (photos / "tiny" / "train").iterdir()}
    sure = Counter(synset for _, synset, probability in sharp if probability >= SURE)
    for source, synset, probability in sharp:
        if probability < SURE:
            number = unsure_times
        elif source.startswith("imagenette/"):
            number = imagenette_times
        elif synset in of_tiny:
            number = min(max(round(per_class / sure[synset]), LEAST_OFTEN), MOST_OFTEN)
        else:
            number = other_times
        labels += [(f"sharp/{source}.jpg", synset)] * number
    for place, file in enumerate(sorted(photos.glob("tiny/train/*/images/*.JPEG"))):
        synset = file.parent.parent.name
        clean, tiny = f"clean/{synset}/{file.stem}.jpg", file.relative_to(photos).as_posix()
        if clean not in excluded:
            labels.append((tiny if place % 2 else clean, synset))
    output.write_text("".join(f"{name},{synset}\n" for name, synset in labels))


def known(raw: Path) -> dict[str, str]:
    """The synset of each folder below RAW whose photos all show one class."""
    listed = dict(line.split(",") for line in (HERE / "classes.csv").read_text().splitlines())
    return listed | {f"{place}/{folder.name}": folder.name for place in BY_SYNSET for folder in (raw / place).iterdir()}


def _sharp(raw: Path) -> Iterator[tuple[str, str, float]]:
    """Path below RAW, synset and its probability of each photo."""
    labelled = known(raw)
    for folder, synset in sorted(labelled.items()):
        for file in sorted((raw / folder).iterdir()):
            source = file.relative_to(raw).as_posix()
            yield source, synset, 1.0
    counts: Counter[str] = Counter()
    seen = [line.rsplit(",", 2) for line in Path("seen.csv").read_text().splitlines()]
    for source, synset, probability in sorted(seen, key=lambda one: float(one[2]), reverse=True):
        if source.rpartition("/")[0] not in labelled and counts[synset] < MOST_SEEN:
            counts[synset] += 1
            yield source, synset, float(probability)


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
    raw, photos, output, *numbers = sys.argv[1:]
    main(Path(raw), Path(photos), Path(output), [int(number) for number in numbers])
