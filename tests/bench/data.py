"""Building and resizing, against the tools of the original release: tensorpack's builder and ImageMagick."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lowrank_demo.data.build import LmdbBuild
from lowrank_demo.data.resize import FolderResize
from lowrank_demo.data.samples import Sample, Samples
from lowrank_demo.settings import usable_cpus
from tests.bench.measure import Finding, Outcome, Result, Unmeasured, interleaved

_ROUNDS = 9
# The original's way: one process that reads the files and writes them with its serializer.
_TENSORPACK = """
import collections, collections.abc, sys
collections.Mapping = collections.abc.Mapping  # tensorpack 0.9.8 is older than Python 3.10
import time
import numpy as np
from tensorpack.dataflow import DataFromList, LMDBSerializer, MapData
files, out = sys.argv[2:], sys.argv[1]
samples = DataFromList([[name, i % 1000] for i, name in enumerate(files)], shuffle=False)
read = MapData(samples, lambda s: [np.frombuffer(open(s[0], 'rb').read(), np.uint8), s[1]])
began = time.perf_counter()
LMDBSerializer.save(read, out)
print(time.perf_counter() - began)
"""


def build(folder: Path, images: list[bytes], count: int) -> Iterator[Outcome]:
    """``build-lmdb`` against tensorpack's serializer, on the same files."""
    files = _written(folder / "build", images, count)

    def ours(decode_all: bool = False) -> float:
        _remove(folder / "ours.lmdb")
        samples = Samples([Sample(file, i % 1000) for i, file in enumerate(files)])
        began = time.perf_counter()
        for _ in LmdbBuild(samples, folder / "ours.lmdb", decode_all=decode_all, threads=usable_cpus()):
            pass
        return time.perf_counter() - began

    def theirs() -> float:
        _remove(folder / "theirs.lmdb")
        command = [sys.executable, "-c", _TENSORPACK, str(folder / "theirs.lmdb"), *map(str, files)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(done.stdout.splitlines()[-1])

    decoding_s = statistics.median(ours(decode_all=True) for _ in range(3))
    yield Finding("build-lmdb --decode-all", count / decoding_s, "images/s")
    try:
        # Each times itself, so that the rival's import is not counted as its work.
        rounds = [(ours(), theirs()) for _ in range(1 + _ROUNDS)][1:]
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["it failed"])[-1]
        if "No module named 'tensorpack'" in why:
            why = "put tensorpack 0.9.8 on PYTHONPATH"
        yield Finding("build-lmdb", count / statistics.median(ours() for _ in range(3)), "images/s")
        yield Unmeasured("build-lmdb against tensorpack's LMDBSerializer", why)
        return
    ours_s, theirs_s = map(statistics.median, zip(*rounds, strict=True))
    yield Result(
        "build-lmdb", count / ours_s, count / theirs_s, "images/s", "tensorpack's LMDBSerializer", 1.0, at_least=True
    )


def resize(folder: Path, images: list[bytes], count: int) -> Iterator[Outcome]:
    """``resize`` against a loop of ImageMagick's ``convert``, on the same photos."""
    convert = shutil.which("convert", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    what = "resize to shortest edge 256"
    version = subprocess.run([convert, "--version"], capture_output=True, text=True, check=False) if convert else None
    if not convert or version is None or "ImageMagick" not in version.stdout:
        yield Unmeasured(f"{what} against ImageMagick's convert", "ImageMagick is not installed")
        return
    files = _written(folder / "resize", images, count)

    def ours() -> None:
        shutil.rmtree(folder / "resized", ignore_errors=True)
        for _ in FolderResize(folder / "resize", folder / "resized", edge=256, threads=usable_cpus()):
            pass

    def theirs() -> None:
        for file in files:
            subprocess.run([convert, str(file), "-resize", "256x256^", str(folder / file.name)], check=True)

    ours_s, theirs_s = interleaved([ours, theirs])
    yield Result(what, count / ours_s, count / theirs_s, "images/s", "a loop of convert", 3.0, at_least=True)


def _written(folder: Path, images: list[bytes], count: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{i:05}.jpg" for i in range(count)]
    for i, file in enumerate(files):
        file.write_bytes(images[i % len(images)])
    return files


def _remove(path: Path) -> None:
    for file in path.parent.glob(path.name + "*"):
        file.unlink()
