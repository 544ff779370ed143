"""A training run's rank history, ``history.json``: what each C step chose, and what it led to. No torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..models.architecture import LAYERS, SCHEMES


@dataclass(frozen=True)
class LcStep:
    """One step of the LC algorithm: the C step's choice, then what the L step after it reached."""

    step: int
    mu: float
    ranks: tuple[int, ...]
    """Of conv1..fc8; 0 means that the C step dropped the layer."""
    macs: int
    """Of the network with these ranks."""
    top1_error: float | None
    """Percent, of the dense network after the L step; None while that step is under way."""


@dataclass(frozen=True)
class RankHistory:
    """A whole run of ``train compress``."""

    scheme: str
    criterion: str
    lambda_: float
    steps: tuple[LcStep, ...]


def read_history(path: Path) -> RankHistory:
    """Read a ``history.json`` of format 1.

    Raises:
        DataError: It is not there, or not such a file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != 1 or data["scheme"] not in SCHEMES:
            raise ValueError(f"format {data['format']!r}, scheme {data['scheme']!r}")
        steps = tuple(_step(raw) for raw in data["steps"])
        return RankHistory(str(data["scheme"]), str(data["criterion"]), float(data["lambda"]), steps)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror}); expected a run's rank history.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path.name} is not a rank history of format 1 ({error}); expected one that train compress wrote."
        ) from error


def _step(raw: Any) -> LcStep:
    ranks = tuple(int(rank) for rank in raw["ranks"])
    if len(ranks) != len(LAYERS) or min(ranks) < 0:
        raise ValueError(f"ranks {ranks}")
    mu, error = float(raw["mu"]), raw.get("top1_error")
    if not math.isfinite(mu):
        raise ValueError(f"mu {mu}")
    return LcStep(int(raw["step"]), mu, ranks, int(raw["macs"]), None if error is None else float(error))
