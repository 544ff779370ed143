"""The rank history of a training run, ``history.json``: what each C step chose, and how good it was. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt

from ..errors import DataError
from ..models.architecture import LAYERS, Scheme
from ..runtime.schema import KnownKeys, Number, parse, read_json, within


def _one_for_each_layer(ranks: tuple[int, ...]) -> tuple[int, ...]:
    if len(ranks) != len(LAYERS) or min(ranks) < 0:
        raise ValueError(f"{len(LAYERS)} whole numbers, at least 0")
    return ranks


_Count = Annotated[StrictInt, within(ge=0)]
_Amount = Annotated[Number, within(ge=0)]


@dataclass(frozen=True)
class LcStep(KnownKeys):
    """One step of the LC algorithm: the ranks that its C step chose, and the network that has them.

    Files written before the compressed network was measured have ``top1_error``, and none of the fields from
    ``lambda_`` on.
    """

    step: _Count
    mu: _Amount
    ranks: Annotated[tuple[StrictInt, ...], AfterValidator(_one_for_each_layer)]
    """Ranks of conv1 to fc8; 0 means that the C step dropped the layer."""
    macs: _Count
    """Multiply-accumulates of the network with these ranks, for one image."""
    top1_error: Annotated[Number, within(ge=0, le=100)] | None = None
    """Error of the dense network, in percent, in older files: after the L step that followed the C step."""
    distance: _Amount | None = None
    """How far the dense weights were from the chosen ranks: ‖W − Δ‖ / ‖W‖."""
    lambda_: Annotated[_Amount | None, Field(alias="lambda")] = None
    """λ of the C step."""
    storage: _Count | None = None
    """Trainable parameters of the network with these ranks, with those of batch normalisation."""
    loss: Number | None = None
    """Cross entropy of the compressed network on the validation file."""
    compressed_error: Annotated[Number, within(ge=0, le=100)] | None = None
    """Top-1 error of the compressed network on the validation file, in percent, before any fine-tuning."""


@dataclass(frozen=True)
class RankHistory(KnownKeys):
    """The history of a whole run of ``train compress``."""

    scheme: Scheme
    criterion: Literal["flops", "storage"]
    lambda_: Annotated[_Amount, Field(alias="lambda")]
    steps: tuple[LcStep, ...]
    layers: tuple[str, ...] = ()
    """Names of the layers, for people who read the file."""
    cost: Literal["true", "original"] | None = None
    """What the criterion counted; None in older files, which have the original cost."""
    best: _Count | None = None
    """The step that fine-tuning starts from: the least loss + λ · cost."""


def read_history(path: Path) -> RankHistory:
    """Read a ``history.json`` of format 1.

    Raises:
        DataError: The file cannot be read or is not a rank history; the message names the key.
    """
    data = read_json(path, "a rank history that train compress wrote", DataError, format=1)
    return parse(RankHistory, data, path.name, DataError)
