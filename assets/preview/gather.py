"""Fetches the photos that ``sources.csv`` lists: ``python assets/preview/gather.py RAW [HOST]``.

A line there is a folder, the repository, the path in it whose photos go there and a folder to leave out. HOST has the
repositories, GitHub unless given. Names become plain: folders in lower case, ``_`` for all but letters, digits, ``.``,
``_`` and ``-``; of a folder that begins with a synset only that is kept. Needs git and 5 GB of disk.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

HERE = Path(__file__).parent
GITHUB = "https://github.com"
PHOTO = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)


def main(raw: Path, host: str = GITHUB) -> None:
    """Clone one repository after another, copy its photos and remove the clone."""
    with (HERE / "sources.csv").open() as file:
        sources = list(csv.reader(file))
    for repository in dict.fromkeys(source[1] for source in sources):
        with tempfile.TemporaryDirectory(dir=raw.parent) as clone:
            subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"{host}/{repository}", clone], check=True)
            for folder, _, path, left_out in (source for source in sources if source[1] == repository):
                print(f"{folder}: {_copy(Path(clone) / path, raw / folder, left_out):,} photos of {repository}")


def _copy(source: Path, target: Path, left_out: str) -> int:
    count = 0
    for file in sorted(source.rglob("*")):
        path = PurePosixPath(file.relative_to(source).as_posix())
        skipped = any(part.startswith(".") for part in path.parts) or (left_out and path.parts[0].startswith(left_out))
        if PHOTO.search(path.name) and not skipped:
            place = target.joinpath(*map(_folder, path.parts[:-1]), _plain(path.name))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            count += 1
    return count


def _folder(name: str) -> str:
    synset = re.match(r"n\d{8}", name)
    return synset[0] if synset else _plain(name.lower())


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
