"""Writes ``labels.csv`` for the bundled weights' training photos: ``python assets/preview/labels.py PHOTOS``.

PHOTOS holds ``tiny`` (tiny-imagenet-200 as it comes) and ``sharp``, made by ``resize --shortest-edge 64``, with
``imagenette`` (its train folder), ``caltech`` (101_ObjectCategories) and ``animals`` (popular-animals-dataset).
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(photos: Path) -> None:
    """One line for each photo: its path below PHOTOS, its synset."""
    excluded = set((HERE / "excluded.txt").read_text().split())
    folders = [(path, path.parent.name) for path in sorted(photos.glob("tiny/train/*/images"))]
    folders += [(path, path.name) for path in sorted(photos.glob("sharp/imagenette/*"))]
    for line in (HERE / "classes.csv").read_text().splitlines():
        folder, synset = line.split(",")
        folders.append((photos / "sharp" / folder, synset))
    with Path("labels.csv").open("w") as output:
        for folder, synset in folders:
            for file in sorted(folder.iterdir()):
                name = file.relative_to(photos).as_posix()
                if name not in excluded:
                    output.write(f"{name},{synset}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
