"""Make the bundled weights, from photos to assets/weights: ``python assets/preview/recipe.py FOLDER [--until STEP]``.

A finished step is not repeated; a step that was stopped continues where it was. README.md says what each step needs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lowrank_demo.runtime.files import atomic_write
from lowrank_demo.runtime.progress import duration

HERE = Path(__file__).parent
PROGRAM = ("-m", "lowrank_demo")


@dataclass(frozen=True)
class Step:
    """One command, run in the recipe's folder."""

    name: str
    command: tuple[str, ...]
    result: str = ""
    """A file that appears, whole, when all is done, and that the command would not overwrite."""


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(HERE / name), *arguments)


_LMDB = ("build-lmdb", "--images", "photos", "--unlabelled", "--lmdb-file", "train.lmdb")
STEPS = (
    Step("gather", _script("gather.py", "photos")),
    Step("measured", _script("measured.py", "measured")),
    Step("copies", _script("copies.py", "photos", "measured")),
    Step("build", (*PROGRAM, *_LMDB), "train.lmdb"),
    Step("teacher", (*PROGRAM, "train", "teach", "teach.toml", "--resume"), "heads/answers.npy"),
    Step("features", _script("features.py", "teach.toml"), "heads/features.npy"),
    Step("heads", _script("heads.py", "heads.toml")),
    Step("match", _script("match.py", "match.toml")),
    Step("longer", _script("match.py", "longer.toml")),
    Step("pack", _script("pack.py", "longer.toml", "measured")),
)


def main(folder: Path, until: str) -> None:
    """Run the steps whose results are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "heads" / "models").mkdir(parents=True, exist_ok=True)
    for configuration in HERE.glob("*.toml"):
        shutil.copy(configuration, folder)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
        "LOWRANK_MODELS_DIR": str(folder / "heads" / "models"),
    }
    for step in STEPS:
        mark = folder / f"{step.name}.done"
        if not mark.exists():
            began = time.monotonic()
            print(f"{step.name}: {' '.join(step.command)}", flush=True)
            if not step.result or not (folder / step.result).exists():
                subprocess.run([sys.executable, *step.command], cwd=folder, env=environment, check=True)
            with atomic_write(mark) as temporary:
                temporary.write_text(duration(time.monotonic() - began) + "\n", encoding="utf-8")
        print(f"{step.name}: done in {mark.read_text(encoding='utf-8').strip()}", flush=True)
        if step.name == until:
            return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the bundled weights.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder for everything: 25 GB")
    parser.add_argument("--until", choices=[step.name for step in STEPS], default=STEPS[-1].name, help="the last step")
    arguments = parser.parse_args()
    main(arguments.folder.resolve(), arguments.until)
