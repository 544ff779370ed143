"""A teacher's answers to every view of the training images, kept in a file so that they are computed once.

The file is a NumPy array: float16 logits [views, images, classes].
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, UsageError
from ..models.architecture import NUM_CLASSES
from ..runtime.schema import read_json
from ..runtime.words import counted
from .config import DataConfig


def crops_of(data: DataConfig, seed: int) -> dict[str, object]:
    """Return what decides which crop a view of an image is."""
    crops = {"crop": data.crop, "smallest_crop": data.smallest_crop, "flip": data.flip, "colour": data.colour}
    return {"seed": seed, **crops}


def settings_file(answers: Path) -> Path:
    """Return the path of the file that says which crops the answers are to."""
    return answers.with_suffix(".npy.json")


def check_crops(answers: Path, data: DataConfig, seed: int) -> None:
    """Check that a run makes the crops that kept answers are to, as far as a file beside them says so.

    Raises:
        DataError: The file names other settings, or cannot be read.
    """
    beside = settings_file(answers)
    if not beside.exists():
        return
    found = read_json(beside, "what a teacher's answers are to", DataError)
    expected = crops_of(data, seed)
    made = {key: found.get(key) for key in expected} if isinstance(found, dict) else {}
    wrong = [key for key in expected if made.get(key) != expected[key]]
    if wrong:
        given, wanted = (", ".join(f"{key} = {of.get(key)}" for key in wrong) for of in (made, expected))
        raise DataError(
            f"{answers.name} holds the answers to crops with {given}; this run has {wanted}. Change "
            "the run's settings, or run train teach with them."
        )


class Kept(Protocol):
    """What was computed from every view of the training images, and is read again for each batch."""

    def __getitem__(self, place: tuple[int, int]) -> Tensor:
        """Return the values of one view of one image, float16."""
        ...


class Answers:
    """Reads the file as it is needed; a copy in another process opens it again.

    Args:
        path: The file that ``train teach`` wrote.
        views: Number of views that the run trains on.
        images: Number of images in its training file.
        width: Number of values in an answer.

    Raises:
        UsageError: The file is not there.
        DataError: It holds the answers to something else.
    """

    def __init__(self, path: Path, views: int, images: int, width: int = NUM_CLASSES) -> None:
        self._path = path
        wanted = (views, images, width)
        try:
            self._logits = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise UsageError(f"There is no {path}; expected a teacher's answers: run train teach first.") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path.name} cannot be read as a NumPy array; run train teach again.") from error
        if self._logits.shape != wanted or self._logits.dtype != np.float16:
            raise DataError(
                f"{path.name} holds {self._logits.dtype} {list(self._logits.shape)}; expected float16 {list(wanted)}, "
                f"for {counted(views, 'view')} of {counted(images, 'image')}: run train teach with this training "
                "file and [data] views."
            )

    def __getitem__(self, place: tuple[int, int]) -> Tensor:
        """Return the answer to one view of one image: float16 [width]."""
        return torch.from_numpy(np.array(self._logits[place]))

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self._path = state["_path"]
        self._logits = np.load(self._path, mmap_mode="r", allow_pickle=False)
