"""Fetch the photos that the weights are measured on: ``python assets/preview/measured.py FOLDER [--host ADDRESS]``.

Fetches the repositories of measured.csv and builds three labelled files: thousand.lmdb, a photo of each of the 1000
classes; sharp.lmdb, what sharp-photos.csv lists; imagenette-val.lmdb. None of their photos may be trained on.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from repository import Snapshot

HERE = Path(__file__).parent


def main(folder: Path, host: str) -> None:
    """Fetch what is not there, then build."""
    folder.mkdir(parents=True, exist_ok=True)
    with (HERE / "measured.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            target = folder / row["name"]
            if target.exists():
                continue
            part = folder / f"{row['name']}.part"
            shutil.rmtree(part, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=folder) as clone:
                snapshot = Snapshot(f"{host}/{row['repository']}", row["commit"], Path(clone))
                files = [file for file in snapshot.files([row["path"]]) if file[0].lower().endswith((".jpg", ".jpeg"))]
                for (path, _), data in zip(files, snapshot.read(content for _, content in files), strict=True):
                    place = part / path.removeprefix(f"{row['path']}/")
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(data)
            part.rename(target)
    images = sorted((folder / "sample-images").glob("n*.JPEG"))
    labels = folder / "thousand.csv"
    labels.write_text("".join(f"{path.name},{path.name[:9]}\n" for path in images), encoding="utf-8")
    _build(folder, "thousand", "sample-images", "--labels", str(labels))
    _build(folder, "sharp", ".", "--labels", str(HERE / "sharp-photos.csv"))
    _build(folder, "imagenette-val", "imagenette-val")


def _build(folder: Path, name: str, images: str, *labels: str) -> None:
    file = folder / f"{name}.lmdb"
    if not file.exists():
        build = [sys.executable, "-m", "lowrank_demo", "build-lmdb", "--images", str(folder / images)]
        subprocess.run([*build, *labels, "--shortest-edge", "256", "--lmdb-file", str(file)], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch the photos that the weights are measured on.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--host", default="https://github.com", help="where the repositories are")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.host)
