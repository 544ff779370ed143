"""What the convolutions of stack.py compute of every training photo, kept so that the heads train 50 times as fast.

    python assets/preview/features.py heads.toml

Writes features.npy in the run's folder: float16 [photos, 9216] of the first view, the crop to which ``train teach`` has
the teacher's answers. Stopped, it goes on where it was. Needs 18 kB of disk a photo, and OpenVINO.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import openvino
import torch
from numpy.lib.format import open_memmap
from stack import Stack
from torch.utils.data import DataLoader, Subset

from lowrank_demo.runtime.progress import Meter, ProgressLine
from lowrank_demo.train.batches import LmdbImages, normalise
from lowrank_demo.train.config import read_config

FEATURES = 9216
BATCH, BETWEEN_MARKS = 32, 50


def main(path: Path) -> None:
    """Compute what is missing."""
    config = read_config(path)
    photos = LmdbImages(config.data.train, config.data, config.seed, labelled=False)
    target = config.folder / "features.npy"
    part, mark = target.with_suffix(".npy.part"), target.with_suffix(".npy.mark")
    done = int(mark.read_text()) if mark.exists() else 0
    config.folder.mkdir(parents=True, exist_ok=True)
    features = open_memmap(part, "r+" if done else "w+", np.float16, (len(photos), FEATURES))
    shape = openvino.PartialShape([-1, 3, 227, 227])
    model = openvino.convert_model(Stack().eval(), example_input=torch.zeros(1, 3, 227, 227), input=[shape])
    request = openvino.Core().compile_model(model, "CPU").create_infer_request()
    line, meter = ProgressLine(), Meter(len(photos), done)
    rest = Subset(photos, range(done, len(photos)))
    for number, (pixels, *_) in enumerate(DataLoader(rest, BATCH, num_workers=config.data.workers), start=1):
        found = request.infer(np.ascontiguousarray(normalise(pixels).numpy()))
        features[done : done + len(pixels)] = next(iter(found.values()))
        done += len(pixels)
        line.show(meter.at(done))
        if number % BETWEEN_MARKS == 0 or done == len(photos):
            features.flush()
            mark.write_text(str(done))
    os.replace(part, target)
    mark.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
