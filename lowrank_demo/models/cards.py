"""Model cards: every model as data, and how cards are read. The code names no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, ValidationInfo, field_validator
from pydantic.json_schema import SkipJsonSchema

from ..errors import CardError, UnknownModel
from ..runtime.files import has_long_name
from ..runtime.interval import half_width
from ..runtime.schema import KnownKeys, Number, Refusal, matching, parse, within
from ..runtime.words import lambda_text
from .architecture import LAYERS, NetworkCost, Scheme, full_rank, network_cost

DEFAULT_FAMILY, BUNDLED_FAMILY = "published", "bundled"
"""Families of the authors' weights, and of this project's own, which are beside the zoo."""


def _not_in_a_file(value: object, info: ValidationInfo) -> None:
    raise Refusal(
        f"{info.field_name} is not a key of model cards; name a truncated model by its id, "
        "family/scheme/version@rank-rank-…."
    )


def _file_name(text: str) -> str:
    path = Path(text)
    odd = not text.isprintable() or text.endswith("/") or has_long_name(path)
    if odd or not path.parts or path.is_absolute() or ".." in path.parts:
        raise ValueError("the name of a file in the card's folder or below")
    return text


Name = Annotated[str, matching(r"[a-z0-9][a-z0-9_.-]*", "lower-case letters, digits, '_', '.' and '-'")]
"""A model's family or version."""
_Digest = Annotated[str, matching(r"[0-9a-f]{8,64}", "8 to 64 lower-case hex digits")]
_Address = Annotated[str, matching(r"https?://.+", "an http or https address")]
_FileName = Annotated[str, AfterValidator(_file_name)]
_Amount = Annotated[Number, within(ge=0)]
_Percent = Annotated[Number, within(ge=0, le=100)]


@dataclass(frozen=True)
class Errors(KnownKeys):
    """Top-1 and top-5 error in percent on a stated data set."""

    top1: Annotated[_Percent, Field(alias="top1_error")]
    top5: Annotated[_Percent, Field(alias="top5_error")]


@dataclass(frozen=True)
class Published(Errors):
    """ImageNet validation errors and cost from the paper's release."""

    mflops: _Amount
    flops_reduction: _Amount
    """Ratio of Caffe-AlexNet's FLOPs to this model's."""


@dataclass(frozen=True)
class Measurement(Errors):
    """Errors that this project measured, and the command that measured them."""

    dataset: str
    command: str
    images: Annotated[StrictInt, within(ge=1)] | None = None
    """Number of images measured on; None where the card does not say."""

    def margin(self, error: float) -> float | None:
        """Return by how much the choice of images may change one of the errors, in percentage points.

        This is half the width of Wilson's 95 % interval; None where the number of images is not known.
        """
        return None if self.images is None else half_width(error, self.images)


@dataclass(frozen=True)
class Reference(Errors):
    """The uncompressed network that the paper compares with: a row in a table, without weights."""

    name: str
    mflops: _Amount


@dataclass(frozen=True)
class StatisticsSource(KnownKeys):
    """Where the batch normalisation's statistics of a nested file's cuts come from."""

    file: _FileName
    """Name of a safetensors file beside the zoo."""
    sha256: _Digest


@dataclass(frozen=True)
class WeightsSource(KnownKeys):
    """Where a model's weights come from."""

    file: _FileName
    """Name of the file: in the cache if there is a ``url``, else beside the zoo."""
    sha256: _Digest
    """SHA-256 in hex: the whole digest, or its first digits, at least 8, if no more was published."""
    format: Literal["pickle", "safetensors", "nested"]
    """``nested`` is safetensors with the factors of several versions."""
    url: _Address | None = None
    """Published address; None for bundled weights."""
    statistics: StatisticsSource | None = None
    """Statistics measured at ranks below those of the versions; only for nested files beside the zoo."""

    @field_validator("statistics")
    @classmethod
    def _of_a_bundled_nested_file(
        cls, statistics: StatisticsSource | None, info: ValidationInfo
    ) -> StatisticsSource | None:
        if statistics and (info.data.get("format") != "nested" or info.data.get("url")):
            raise ValueError("null, as only nested weights without a url have statistics of their cuts")
        return statistics


@dataclass(frozen=True)
class Part:
    """A version whose own tensors a cut of a nested file takes, or takes the mean of."""

    version: Name
    ranks: tuple[int, ...]
    """The cut's ranks; in a convolution at most the version's own."""
    weight: float
    """Its weight in the mean; those of all parts add up to 1."""


@dataclass(frozen=True)
class ModelCard(KnownKeys):
    """One model: how it is built, what was published about it, and where its weights are."""

    family: Name
    scheme: Scheme
    version: Name
    lambda_: Annotated[_Amount, Field(alias="lambda")]
    """λ of the rank selection, per 10⁶ FLOPs (paper, section 4)."""
    ranks: tuple[StrictInt, ...]
    """Ranks of conv1 to conv5 and fc6 to fc8."""
    weights: WeightsSource
    licence: str
    provenance: str
    note: str
    """One sentence that tells users what to expect of these weights; may be empty."""
    measured: tuple[Measurement, ...]
    """The first is the one that the page quotes and draws."""
    published: Published | None = None
    """What the paper's release states about the model; None if it is not from there."""
    history: _FileName | None = None
    """File with the rank history of the training run, beside the weights."""
    # Not among the keys that a message lists.
    truncated_from: SkipJsonSchema[Annotated[tuple[int, ...] | None, BeforeValidator(_not_in_a_file)]] = None
    """Ranks of the model if ``ranks`` are lower: loading truncates the network, and it is not trained again.
    Only ``truncated`` sets it."""
    parts: SkipJsonSchema[Annotated[tuple[Part, ...], BeforeValidator(_not_in_a_file)]] = ()
    """What a cut of a nested file is made of: one version, or two."""

    @field_validator("ranks")
    @classmethod
    def _possible(cls, ranks: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if "scheme" in info.data:  # if not, the scheme is the error that is reported
            limits = [full_rank(layer, info.data["scheme"]) for layer in LAYERS]
            if len(ranks) != len(limits) or any(not 1 <= r <= most for r, most in zip(ranks, limits, strict=True)):
                raise ValueError(f"{len(limits)} whole numbers, at least 1 and at most {limits}")
        return ranks

    @property
    def id(self) -> str:
        """``family/scheme/version``; for a truncated model ``family/scheme/version@rank-rank-…``."""
        at = "@" + "-".join(map(str, self.ranks)) if self.truncated_from else ""
        return f"{self.family}/{self.scheme}/{self.version}{at}"

    @property
    def title(self) -> str:
        """The model's name for people, such as ``Scheme 2 · v5 · bundled``."""
        version = f"cut to {self.cost.macs / 1e6:.0f} MFLOPs" if self.truncated_from else self.version
        return " · ".join((scheme_title(self.scheme), version, FAMILY_WORDS.get(self.family, self.family)))

    @property
    def bundled(self) -> bool:
        """Whether the weights ship with the app."""
        return self.weights.url is None

    @property
    def published_mflops(self) -> float | None:
        """The published cost; None for a model that was not published."""
        return self.published.mflops if self.published else None

    @property
    def flops_reduction(self) -> float | None:
        """The published ratio to Caffe-AlexNet's FLOPs; None for a model that was not published."""
        return self.published.flops_reduction if self.published else None

    @property
    def lambda_text(self) -> str:
        """λ as the paper prints it, such as ``0.25e-4``."""
        return lambda_text(self.lambda_)

    @cached_property
    def cost(self) -> NetworkCost:
        """MACs and parameters, computed from the ranks."""
        return network_cost(self.scheme, self.ranks)

    def truncated(
        self, ranks: Sequence[int], limits: Sequence[int] | None = None, parts: Sequence[Part] = ()
    ) -> ModelCard:
        """Return this model with its layers truncated to these ranks; such a model was never published or trained.

        At its own ranks it is the model itself.

        Args:
            ranks: The new ranks.
            limits: The highest ranks that its weights have; default: its own.
            parts: What a cut of a nested file is made of.

        Raises:
            UnknownModel: These are not eight ranks from 0 to the limits.
        """
        given, most = tuple(ranks), tuple(limits or self.ranks)
        if len(given) != len(most) or any(not 0 <= r <= highest for r, highest in zip(given, most, strict=True)):
            raise UnknownModel(
                f"{self.id} cannot be truncated to ranks {'-'.join(map(str, given))[:80]}; expected "
                f"{len(most)} ranks from 0 to those of its weights, {'-'.join(map(str, most))}."
            )
        if given == self.ranks:
            return self
        return replace(
            self,
            ranks=given,
            truncated_from=self.ranks,
            parts=tuple(parts),
            published=None,
            measured=(),
            history=None,
            note=_CUT_NOTE,
        )


_CUT_NOTE = "This is a cut of trained weights, and was not trained again at its ranks."
"""What a truncated model's card says in place of the note on the whole model."""
FAMILY_WORDS = {DEFAULT_FAMILY: "authors'"}
"""How to show a family's name to people; a family that is not listed keeps its own name."""


def scheme_title(scheme: str) -> str:
    """Return a scheme's name for users: ``scheme_2`` is ``Scheme 2``."""
    return scheme.replace("_", " ").capitalize()


def parse_card(data: object, where: str) -> ModelCard:
    """Return a card from its JSON value.

    Raises:
        CardError: A key is missing, unknown or has a wrong value; the message begins with ``where``.
    """
    return parse(ModelCard, data, where, CardError)
