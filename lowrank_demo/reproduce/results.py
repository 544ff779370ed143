"""What the LeNet300 experiment found, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import DataError
from ..runtime.schema import KnownKeys, parse, read_json

LAMBDAS = (0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 4.0)
"""The authors' values of λ, the price of 10⁶ FLOPs."""
REFERENCE, LEARNED, TRUNCATED = "reference", "learned", "truncated by SVD"
"""How the ranks of a network were chosen."""

FULL_RANKS = {"fc1": 300, "fc2": 100, "fc3": 10}
"""Of the layers of LeNet300."""


@dataclass(frozen=True)
class Settings(KnownKeys):
    """How long to train; the defaults are the authors' epochs."""

    reference_epochs: int = 300
    steps: int = 30
    """LC steps; the first one trains nothing."""
    step_epochs: int = 30
    """Epochs of each L step."""
    finetune_epochs: int = 200
    lambdas: tuple[float, ...] = LAMBDAS
    seed: int = 0

    def scaled(self, share: float) -> Settings:
        """Return settings with a share of the epochs, at least one of each kind, and as many LC steps as before."""
        return replace(
            self,
            reference_epochs=max(1, round(share * self.reference_epochs)),
            step_epochs=max(1, round(share * self.step_epochs)),
            finetune_epochs=max(1, round(share * self.finetune_epochs)),
        )

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return self.reference_epochs + len(self.lambdas) * self.epochs_of_each_lambda

    @property
    def epochs_of_each_lambda(self) -> int:
        """Epochs of the LC algorithm, and of fine-tuning two networks."""
        return (self.steps - 1) * self.step_epochs + 2 * self.finetune_epochs


@dataclass(frozen=True)
class Network(KnownKeys):
    """A network that was trained and measured."""

    method: str
    """How its ranks were chosen."""
    lambda_: float | None
    """λ of its ranks, or of the network whose MACs it has; None for the reference."""
    ranks: dict[str, int]
    """Ranks of the factored layers; the others are dense."""
    macs: int
    """Multiply-accumulates for one image."""
    storage: int
    """Weights and biases."""
    error_before: float | None
    """Top-1 error on the test images in percent, before fine-tuning; None for the reference."""
    error: float
    """The same, at the end."""


@dataclass(frozen=True)
class LcStep(KnownKeys):
    """A step of the LC algorithm, after its C step."""

    step: int
    mu: float
    ranks: dict[str, int]
    """Ranks of all layers; one of full rank is dense."""
    macs: int
    storage: int
    """Weights of all layers, without biases."""
    distance: float
    """How far the dense weights are from the compressed ones: ‖W − Δ‖ / ‖W‖."""
    error: float
    """Top-1 error of the compressed network on the test images, in percent."""


@dataclass(frozen=True)
class History(KnownKeys):
    """How the ranks settled."""

    lambda_: float
    steps: tuple[LcStep, ...]


@dataclass(frozen=True)
class Results(KnownKeys):
    """The networks, in the order in which they were trained, and how the ranks of the compressed ones settled."""

    data: str
    """Names the images."""
    settings: Settings
    networks: tuple[Network, ...] = ()
    histories: tuple[History, ...] = ()

    def has(self, lambda_: float) -> bool:
        """Return whether the networks of one λ are here."""
        return any(history.lambda_ == lambda_ for history in self.histories)

    def adding(self, networks: Sequence[Network], *histories: History) -> Results:
        """Return these results and further ones."""
        return replace(self, networks=(*self.networks, *networks), histories=(*self.histories, *histories))


def read_results(path: Path) -> Results:
    """Read a file that :func:`write_results` wrote.

    Raises:
        DataError: It cannot be read, or is something else.
    """
    data = read_json(path, "the results of train lenet300", DataError, format=1)
    return parse(Results, data, path.name, DataError)


def write_results(results: Results, path: Path) -> None:
    """Write a JSON file, which :func:`read_results` reads."""
    path.write_text(json.dumps({"format": 1, **asdict(results)}, indent=1, ensure_ascii=False), encoding="utf-8")
