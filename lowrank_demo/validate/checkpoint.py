"""The state of an unfinished validation pass on disk."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.lmdb.reader import Records
from ..errors import DataError
from ..runtime.files import atomic_write
from .report import Conditions
from .sums import ModelSums, Sums, Unreadable


class Checkpoint:
    """The file that keeps the sums of one pass. Its name is a digest of everything that the sums depend on.

    Args:
        folder: Created at the first save.
        reader: The file that is measured.
        models: Each model's id and the digest of its weights.
        batch_size: Records in a batch.
        conditions: Decoder, device, engine and precision.
        records: The slice of the file that is measured.
    """

    def __init__(
        self,
        folder: Path,
        reader: Records,
        models: Sequence[tuple[str, str]],
        batch_size: int,
        conditions: Conditions,
        records: range,
    ) -> None:
        self.models = [name for name, _ in models]
        stat = reader.file.stat()
        identity = [
            str(reader.file.resolve()),
            stat.st_size,
            stat.st_mtime_ns,
            len(reader),
            models,
            batch_size,
            str(conditions),
            (records.start, records.stop),
        ]
        name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
        self.path = folder / f"{reader.name}-{name}.npz"

    def save(self, sums: Sums) -> None:
        """Write the state atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, np.ndarray] = {"class_count": sums.class_count}
        for i, name in enumerate(self.models):
            model = sums.models[name]
            true, predicted = np.nonzero(model.confused)
            arrays |= {
                f"{i}.class_top1": model.class_top1,
                f"{i}.class_top5": model.class_top5,
                f"{i}.confused": np.stack([true, predicted, model.confused[true, predicted]]),
            }
        state = {
            "position": sums.position,
            "loss": [str(sums.models[name].loss) for name in self.models],
            "unreadable": [(item.index, item.reason) for item in sums.unreadable],
        }
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> Sums | None:
        """Return the saved state, or None if there is none.

        Raises:
            DataError: It is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                state = json.loads(arrays["state"].tobytes())
                models: dict[str, ModelSums] = {}
                for i, name in enumerate(self.models):
                    sums = ModelSums(int(state["loss"][i]), arrays[f"{i}.class_top1"], arrays[f"{i}.class_top5"])
                    true, predicted, number = arrays[f"{i}.confused"]
                    sums.confused[true, predicted] = number
                    models[name] = sums
                unreadable = [Unreadable(index, reason) for index, reason in state["unreadable"]]
                return Sums(models, state["position"], arrays["class_count"], unreadable)
        except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
            raise DataError(
                f"The checkpoint {self.path} is damaged; delete it, or leave --resume out to start at the beginning."
            ) from error

    def remove(self) -> None:
        """Delete the saved state, if there is one."""
        self.path.unlink(missing_ok=True)
