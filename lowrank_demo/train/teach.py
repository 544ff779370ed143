"""Keep what a network, such as a teacher, computes for every view of the training images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import nn
from torch.utils.data import DataLoader, Subset

from ..errors import DataError, UsageError
from ..models.architecture import NUM_CLASSES
from ..runtime.files import atomic_write
from ..runtime.outputs import check_folder
from ..runtime.progress import Meter, ProgressLine
from .answers import crops_of, settings_file
from .batches import LmdbImages, normalise
from .config import RunConfig
from .teacher import load_teacher

ANSWERS = "answers.npy"
_BETWEEN_MARKS = 50
"""Batches between two marks, from which a resumed computation continues."""


def teach(config: RunConfig, resume: bool, device: torch.device) -> Path:
    """Write ``answers.npy`` in the run's folder: float16 logits [views, images, classes].

    A file beside it says which crops they belong to.

    Args:
        config: The run.
        resume: Continue a stopped computation.
        device: Where the teacher runs.

    Raises:
        UsageError: The run names no teacher or no views, or there are answers already.
        DataError: What a stopped computation left belongs to another run.
    """
    if not config.teach.teacher or not config.data.views:
        missing = "[data] views" if config.teach.teacher else "[teach] teacher"
        raise UsageError(f"{missing} is not set; expected it in the run's file, for train teach.")
    teacher = load_teacher(config.teach.teacher, device)
    assert teacher is not None
    return keep_outputs(teacher, NUM_CLASSES, config, ANSWERS, resume, device)


def keep_outputs(
    network: nn.Module, width: int, config: RunConfig, name: str, resume: bool, device: torch.device
) -> Path:
    """Write a network's outputs to a file in the run's folder: float16 [views, images, width].

    Args:
        network: Takes normalised images, float32 [n, 3, 227, 227].
        width: Number of its outputs for one image.
        config: The run.
        name: Name of the file, ending in ``.npy``.
        resume: Continue a stopped computation.
        device: Where the network runs.

    Raises:
        UsageError: The file is there already.
        DataError: What a stopped computation left belongs to another run.
    """
    target = config.folder / name
    if target.exists():
        raise UsageError(f"{target} already exists; delete it to compute it again.")
    images = LmdbImages(config.data.train, config.data, config.seed, labelled=False)
    shape = (config.data.views, len(images), width)
    part, mark = target.with_suffix(".npy.part"), target.with_suffix(".npy.mark")
    done = _marked(mark, part, config, shape) if resume else 0
    check_folder(config.folder, target)
    kept = open_memmap(part, "r+" if done else "w+", np.float16, shape)
    flat = kept.reshape(-1, width)
    line, meter = ProgressLine(), Meter(len(flat), done)
    kind = torch.bfloat16 if config.teach.precision == "bf16" else None
    for view in range(done // len(images), config.data.views):
        images.passes = view
        loader = DataLoader(
            Subset(images, range(done - view * len(images), len(images))),
            batch_size=config.data.batch_size,
            num_workers=config.data.workers,
            multiprocessing_context="spawn" if config.data.workers else None,
        )
        for number, (pixels, _, _) in enumerate(loader, start=1):
            with torch.inference_mode(), torch.autocast(device.type, kind, enabled=kind is not None):
                outputs = network(normalise(pixels).to(device, memory_format=torch.channels_last))
            flat[done : done + len(pixels)] = outputs.half().cpu().numpy()
            done += len(pixels)
            line.show(meter.at(done))
            if number % _BETWEEN_MARKS == 0 or done % len(images) == 0:
                kept.flush()
                _write_mark(mark, config, shape, done)
    with atomic_write(settings_file(target)) as temporary:
        temporary.write_text(json.dumps(_inputs(config, shape)), encoding="utf-8")
    os.replace(part, target)
    mark.unlink()
    return target


def _marked(mark: Path, part: Path, config: RunConfig, shape: tuple[int, ...]) -> int:
    """Return for how many views of images a stopped computation of this run has left outputs; 0 if there was none."""
    if not mark.exists() or not part.exists():
        return 0
    left = json.loads(mark.read_text(encoding="utf-8"))
    done = left.pop("done")
    if left != _inputs(config, shape):
        raise DataError(f"{part} holds the answers of another run; delete it to begin again.")
    return int(done)


def _write_mark(mark: Path, config: RunConfig, shape: tuple[int, ...], done: int) -> None:
    with atomic_write(mark) as temporary:
        temporary.write_text(json.dumps({**_inputs(config, shape), "done": done}), encoding="utf-8")


def _inputs(config: RunConfig, shape: tuple[int, ...]) -> dict[str, object]:
    """Return what the outputs depend on."""
    made_of = {"teacher": config.teach.teacher, "train": str(config.data.train), "shape": list(shape)}
    return {**made_of, **crops_of(config.data, config.seed)}
