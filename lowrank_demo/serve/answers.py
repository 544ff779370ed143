"""What the service takes and gives: photos, the state of models, and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..models.cards import ModelCard
from ..models.store import Where

if TYPE_CHECKING:
    import numpy as np

    from ..classify.inference import Prediction


@dataclass(frozen=True)
class ModelStatus:
    """A card and where its weights are now."""

    card: ModelCard
    where: Where

    @property
    def ready(self) -> bool:
        """Whether the model can be used without a download."""
        return self.where in ("bundled", "cached")


@dataclass(frozen=True)
class Photo:
    """One file to classify. Its bytes are read when its batch is decoded."""

    name: str
    read: Callable[[], bytes]
    size: Callable[[], int]
    """Returns the number of bytes, without reading them."""

    @classmethod
    def from_file(cls, path: Path, name: str = "") -> Photo:
        """Return a file on this machine as a photo; people see ``name``, or the file's own name if it is empty."""
        return cls(name or path.name, path.read_bytes, lambda: path.stat().st_size)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "photo") -> Photo:
        """Return the bytes of a file as a photo."""
        return cls(name, lambda: data, lambda: len(data))


@dataclass(frozen=True)
class Comparison:
    """The answers of one or more models to the same photos."""

    cards: tuple[ModelCard, ...]
    answers: tuple[tuple[Prediction | ImageError, ...], ...]
    """For each model, its answer to each photo."""
    views: tuple[np.ndarray | None, ...]
    """Each photo as the networks see it, uint8 [227, 227, 3]; None where it cannot be used. Empty if not asked for."""
