"""The state of an unfinished validation pass on disk."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.lmdb.reader import Records
from ..errors import DataError, UsageError
from ..runtime.files import atomic_write
from ..runtime.words import counted
from .report import Conditions
from .sums import ModelSums, Sums, Unreadable

_UNUSABLE = (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile)
_IDENTITY = ("file", "batch_size", "conditions", "part", "models")


class Checkpoint:
    """The file that keeps the sums of one pass. Its name is a digest of everything that the sums depend on.

    Args:
        folder: Created at the first save.
        reader: The file that is measured.
        models: Each model's id and the digest of its weights, in any order.
        batch_size: Records in a batch.
        conditions: Decoder, device, engine and precision.
        part: The slice of the file that is measured, and the number of slices.
    """

    def __init__(
        self,
        folder: Path,
        reader: Records,
        models: Sequence[tuple[str, str]],
        batch_size: int,
        conditions: Conditions,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.models = [name for name, _ in models]
        self._file = reader.name
        stat = reader.file.stat()
        self._identity: dict[str, Any] = {
            "file": [str(reader.file.resolve()), stat.st_size, stat.st_mtime_ns, len(reader)],
            "batch_size": batch_size,
            "conditions": str(conditions),
            "part": list(part),
            "models": dict(sorted(models)),
        }
        digest = hashlib.sha256(json.dumps(self._identity).encode()).hexdigest()[:24]
        self.path = folder / f"{reader.name}-{digest}.npz"

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
            "identity": self._identity,
            "names": self.models,
            "position": sums.position,
            "loss": [str(sums.models[name].loss) for name in self.models],
            "unreadable": [(item.index, item.reason) for item in sums.unreadable],
        }
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())

    def load(self) -> Sums | None:
        """Return the state of this pass, or of one that measured more models; None if none of its models has one.

        Raises:
            DataError: The state is damaged.
            UsageError: Only passes over this file that cannot be continued by this one were saved; the message says
                how they differ.
        """
        if self.path.exists():
            return self._read(self.path)
        saved = [state for state in map(_state_of, self._beside()) if state and self._concerns(state[1])]
        # The one that got furthest.
        saved.sort(key=lambda state: state[2], reverse=True)
        for path, identity, _ in saved:
            if not self._differences(identity):
                return self._read(path)
        if saved:
            differences = self._differences(saved[0][1])
            missing = self._missing(saved[0][1])
            advice = f"leave {missing} out" if len(differences) == 1 and missing else "give the same"
            raise UsageError(
                f"The saved pass over {self._file} {', and '.join(differences)}; {advice} to continue it, or leave out "
                "--resume to start again."
            )
        return None

    def _read(self, path: Path) -> Sums:
        """Return the sums of this pass's models, whichever others the file holds."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                state = json.loads(arrays["state"].tobytes())
                models: dict[str, ModelSums] = {}
                for name in self.models:
                    i = state["names"].index(name)
                    sums = ModelSums(int(state["loss"][i]), arrays[f"{i}.class_top1"], arrays[f"{i}.class_top5"])
                    true, predicted, number = arrays[f"{i}.confused"]
                    sums.confused[true, predicted] = number
                    models[name] = sums
                unreadable = [Unreadable(index, reason) for index, reason in state["unreadable"]]
                return Sums(models, state["position"], arrays["class_count"], unreadable)
        except _UNUSABLE as error:
            raise DataError(
                f"The checkpoint {path} is damaged; delete it, or leave --resume out to start at the beginning."
            ) from error

    def _beside(self) -> list[Path]:
        """List the saved states of passes over files of this name."""
        return sorted(self.path.parent.glob(f"{glob.escape(self._file)}-*.npz"))

    def _concerns(self, identity: dict[str, Any]) -> bool:
        """Return whether a state is of a file at this place and a model of this pass, not of another process."""
        own = self._identity
        return (
            identity["file"][0] == own["file"][0]
            and bool(identity["models"].keys() & own["models"].keys())
            and (identity["part"][1] != own["part"][1] or identity["part"] == own["part"])
        )

    def _missing(self, identity: dict[str, Any]) -> str:
        """Name the models of this pass that a saved one does not include."""
        return ", ".join(name for name in self.models if name not in identity["models"])

    def _differences(self, identity: dict[str, Any]) -> list[str]:
        """Say why a saved pass cannot be continued by this one; empty if it can."""
        own, parts = self._identity, []
        if identity["file"] != own["file"]:
            parts.append("is of another version of the file")
        if identity["batch_size"] != own["batch_size"]:
            parts.append(f"has batch size {identity['batch_size']} and this one {own['batch_size']}")
        if identity["conditions"] != own["conditions"]:
            parts.append(f"was {identity['conditions']} and this one is {own['conditions']}")
        if identity["part"][1] != own["part"][1]:
            shared, by = (counted(one["part"][1], "process") for one in (identity, own))
            parts.append(f"was shared by {shared} and this one by {by}")
        if missing := self._missing(identity):
            parts.append(f"does not include {missing}")
        changed = [name for name in self.models if identity["models"].get(name, "") not in ("", own["models"][name])]
        if changed:
            parts.append(f"measured other weights of {', '.join(changed)}")
        return parts

    def remove(self) -> None:
        """Delete the saved state, if there is one."""
        self.path.unlink(missing_ok=True)


def _state_of(path: Path) -> tuple[Path, dict[str, Any], int] | None:
    """Return a saved pass's identity and position; None if it cannot be read, or another version wrote it."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = json.loads(arrays["state"].tobytes())
        identity = state["identity"]
        return path, {key: identity[key] for key in _IDENTITY}, int(state["position"])
    except _UNUSABLE:
        return None
