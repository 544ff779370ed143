"""Model cards: every model as data, and finding one by its id. The code knows no model by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from .cost import NetworkCost, network_cost
from .errors import UnknownModel

DEFAULT_FAMILY = "published"


@dataclass(frozen=True)
class Errors:
    """Error figures on a stated data set, in percent."""

    top1: float
    top5: float


@dataclass(frozen=True)
class Measurement:
    """Errors that this project measured, and the command that did."""

    dataset: str
    top1: float
    top5: float
    command: str


@dataclass(frozen=True)
class WeightsSource:
    """Where a model's weights come from."""

    file: str
    """File name: in the cache for ``url``, beside the zoo for bundled weights."""
    sha256: str
    """SHA-256 in hex: the whole digest, or its first 8 digits or more where no more was published."""
    format: Literal["pickle", "safetensors"]
    url: str | None = None
    """Published address; None for bundled weights."""


@dataclass(frozen=True)
class ModelCard:
    """One model: how it is built, what was published about it, and where its weights are."""

    family: str
    scheme: str
    version: str
    lambda_: float
    """λ of the rank selection, for each 10⁶ FLOPs (paper, section 4)."""
    ranks: tuple[int, ...]
    """Rank of conv1..conv5, fc6..fc8."""
    weights: WeightsSource
    published: Errors | None
    """ImageNet validation errors from the paper's release."""
    published_mflops: float | None
    flops_reduction: float | None
    """Published ratio to Caffe-AlexNet's FLOPs."""
    pre_shrink: int | None
    """Shortest edge that the photo is reduced to, and enlarged again from, before the standard pipeline."""
    licence: str
    provenance: str
    note: str
    """One sentence for people about what to expect of these weights; may be empty."""
    measured: tuple[Measurement, ...] = ()
    history: str | None = None
    """File of the rank history of the training run, beside the weights."""
    cut_from: tuple[int, ...] | None = None
    """Ranks of the weight file where ``ranks`` are fewer: the network is truncated on loading, and not trained."""

    @property
    def id(self) -> str:
        """``family/scheme/version``; of a cut model ``family/scheme/version@rank-rank-…``."""
        cut = "@" + "-".join(map(str, self.ranks)) if self.cut_from else ""
        return f"{self.family}/{self.scheme}/{self.version}{cut}"

    def cut(self, ranks: Sequence[int]) -> ModelCard:
        """This model with its layers truncated to these ranks, which nobody published or trained.

        Raises:
            UnknownModel: They are not eight ranks from 0 to the model's own.
        """
        given = tuple(ranks)
        if len(given) != len(self.ranks) or any(not 0 <= r <= own for r, own in zip(given, self.ranks, strict=True)):
            raise UnknownModel(
                f"{self.id} cannot be cut to ranks {'-'.join(map(str, given))[:80]}; expected "
                f"{len(self.ranks)} ranks from 0 to its own, {'-'.join(map(str, self.ranks))}."
            )
        return replace(
            self,
            ranks=given,
            cut_from=self.ranks,
            published=None,
            published_mflops=None,
            flops_reduction=None,
            measured=(),
            history=None,
        )

    @property
    def bundled(self) -> bool:
        """Whether the weights ship with the app."""
        return self.weights.url is None

    @cached_property
    def cost(self) -> NetworkCost:
        """MACs and parameters, computed from the ranks."""
        return network_cost(self.scheme, self.ranks)

    @property
    def lambda_text(self) -> str:
        """λ as the paper prints it, such as ``0.25e-4``."""
        return f"{self.lambda_ * 1e4:.2f}e-4"


@dataclass(frozen=True)
class Reference:
    """The uncompressed network that the paper compares with: a row in a table, with no weights here."""

    name: str
    mflops: float
    errors: Errors


@dataclass(frozen=True)
class Zoo:
    """All model cards, in the file's order."""

    cards: tuple[ModelCard, ...]
    reference: Reference
    folder: Path
    """Where bundled weights lie: beside the file that the cards were read from."""

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.cards)

    def get(self, model_id: str) -> ModelCard:
        """The card with this id; ``scheme/version`` alone means the published one, ``…@rank-rank-…`` a cut one.

        Raises:
            UnknownModel: There is none; the message lists those there are.
        """
        model_id, at, ranks = model_id.partition("@")
        if at:
            whole = [int(rank) if re.fullmatch(r"[0-9]{1,6}", rank) else -1 for rank in ranks.split("-")]
            return self.get(model_id).cut(whole)
        wanted = model_id if model_id.count("/") == 2 else f"{DEFAULT_FAMILY}/{model_id}"
        for card in self.cards:
            if card.id == wanted:
                return card
        known = ", ".join(card.id for card in self.cards)
        shown = model_id if len(model_id) <= 80 else model_id[:80] + "…"
        raise UnknownModel(f"There is no model {shown!r}; expected one of: {known}.")

    def of_scheme(self, scheme: str) -> tuple[ModelCard, ...]:
        """The cards of one scheme."""
        return tuple(card for card in self.cards if card.scheme == scheme)
