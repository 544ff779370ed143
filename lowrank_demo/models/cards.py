"""Model cards: every model as data, how cards are read, and finding one by its id. The code names no model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, ValidationInfo, field_validator
from pydantic.json_schema import SkipJsonSchema

from ..errors import CardError, UnknownModel
from ..runtime.files import has_long_name
from ..runtime.interval import half_width
from ..runtime.schema import KnownKeys, Number, Refusal, matching, parse, read_json, shown, within
from .architecture import LAYERS, SCHEMES, NetworkCost, Scheme, full_rank, network_cost

DEFAULT_FAMILY = "published"


def _not_in_a_file(value: object) -> None:
    raise Refusal(
        "truncated_from is not a key of model cards; name a truncated model by its id, "
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
        """Return how far the choice of images may put one of the errors off, in percentage points.

        This is half the width of Wilson's 95 % interval; None where the number of images is not known.
        """
        return None if self.images is None else half_width(error, self.images)


@dataclass(frozen=True)
class Reference(Errors):
    """The uncompressed network that the paper compares with: a row in a table, without weights."""

    name: str
    mflops: _Amount


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
    pre_shrink: Annotated[StrictInt, within(ge=16, le=255)] | None = None
    """Shortest edge to which a photo is reduced, and then enlarged again, before the standard pipeline."""
    history: _FileName | None = None
    """File with the rank history of the training run, beside the weights."""
    # Not among the keys that a message lists.
    truncated_from: SkipJsonSchema[Annotated[tuple[int, ...] | None, BeforeValidator(_not_in_a_file)]] = None
    """Ranks of the model if ``ranks`` are lower: loading truncates the network, and it is not trained again.
    Only ``truncated`` sets it."""

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
        return f"{self.lambda_ * 1e4:.2f}e-4"

    @cached_property
    def cost(self) -> NetworkCost:
        """MACs and parameters, computed from the ranks."""
        return network_cost(self.scheme, self.ranks)

    def truncated(self, ranks: Sequence[int]) -> ModelCard:
        """Return this model with its layers truncated to these ranks; such a model was never published or trained.

        Raises:
            UnknownModel: These are not eight ranks from 0 to the model's own.
        """
        given = tuple(ranks)
        if len(given) != len(self.ranks) or any(not 0 <= r <= own for r, own in zip(given, self.ranks, strict=True)):
            raise UnknownModel(
                f"{self.id} cannot be truncated to ranks {'-'.join(map(str, given))[:80]}; expected "
                f"{len(self.ranks)} ranks from 0 to its own, {'-'.join(map(str, self.ranks))}."
            )
        return replace(self, ranks=given, truncated_from=self.ranks, published=None, measured=(), history=None)


FAMILY_WORDS = {DEFAULT_FAMILY: "authors'", "preview": "bundled"}
"""How people read a family's name; any other stands for itself."""


def scheme_title(scheme: str) -> str:
    """Return a scheme's name for users: ``scheme_2`` is ``Scheme 2``."""
    return scheme.replace("_", " ").capitalize()


def short_name(card: ModelCard) -> str:
    """Return a model's name for legends, such as ``scheme 2 v5``, with its family unless it is the published one."""
    family = "" if card.family == DEFAULT_FAMILY else f" {card.family}"
    return f"{scheme_title(card.scheme).lower()} {card.version}{family}{', truncated' if card.truncated_from else ''}"


@dataclass(frozen=True)
class Zoo:
    """All model cards, in the file's order."""

    cards: tuple[ModelCard, ...]
    reference: Reference
    folder: Path
    """Folder of the file that the cards were read from; bundled weights are beside it."""

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.cards)

    def get(self, model_id: str) -> ModelCard:
        """Return the card with this id.

        Args:
            model_id: ``family/scheme/version``, or ``scheme/version`` for a published model; with ``@rank-rank-…``
                added, that model truncated to these ranks. ``family/scheme@rank-rank-…`` truncates the smallest nested
                version that has these ranks.

        Raises:
            UnknownModel: There is no such model; the message lists those that exist.
        """
        model_id, at, ranks = model_id.partition("@")
        if at:
            whole = [int(rank) if re.fullmatch(r"[0-9]{1,6}", rank) else -1 for rank in ranks.split("-")]
            family, _, scheme = model_id.partition("/")
            if scheme in SCHEMES:
                versions = [card for card in self._nested(scheme) if card.family == family]
                if not versions:
                    raise UnknownModel(
                        f"{shown(family)} has no nested models of {scheme}; expected a model's id before '@'."
                    )
                return _nearest(versions, whole).truncated(whole)
            return self.get(model_id).truncated(whole)
        wanted = model_id if model_id.count("/") == 2 else f"{DEFAULT_FAMILY}/{model_id}"
        for card in self.cards:
            if card.id == wanted:
                return card
        known = ", ".join(card.id for card in self.cards)
        raise UnknownModel(f"There is no model {shown(model_id)}; expected one of: {known}.")

    def truncated(self, card: ModelCard, ranks: Sequence[int]) -> ModelCard:
        """Return a model truncated to these ranks: of a nested one, the smallest version of its file that has them.

        Raises:
            UnknownModel: These are not eight ranks from 0 to the model's own.
        """
        versions = [one for one in self._nested(card.scheme) if one.weights.file == card.weights.file]
        return _nearest(versions or [card], ranks).truncated(ranks)

    def mflops(self, card: ModelCard) -> int:
        """Return the MFLOPs of a model as the paper counts them: the published figure where its ranks were published.

        The release rounds some figures down and others up, so that rounding alone does not give all of them.
        """
        for one in self.of_scheme(card.scheme):
            if one.published and one.ranks == card.ranks:
                return round(one.published.mflops)
        return round(card.cost.macs / 1e6)

    def title(self, card: ModelCard) -> str:
        """Return a model's name for people, such as ``Scheme 2 · v5 · bundled``."""
        version = f"cut to {self.mflops(card)} MFLOPs" if card.truncated_from else card.version
        return " · ".join((scheme_title(card.scheme), version, FAMILY_WORDS.get(card.family, card.family)))

    def _nested(self, scheme: str) -> list[ModelCard]:
        return [card for card in self.of_scheme(scheme) if card.weights.format == "nested"]

    def of_scheme(self, scheme: str) -> tuple[ModelCard, ...]:
        """Return the cards of one scheme."""
        return tuple(card for card in self.cards if card.scheme == scheme)


def _nearest(versions: Sequence[ModelCard], ranks: Sequence[int]) -> ModelCard:
    """Return the version of the fewest MACs that has these ranks or more; that of the most MACs if none has."""
    ordered = sorted(versions, key=lambda card: card.cost.macs)
    wide = (card for card in ordered if all(r <= own for r, own in zip(ranks, card.ranks, strict=False)))
    return next(wide, ordered[-1])


@dataclass(frozen=True)
class _ZooFile(KnownKeys):
    reference: Reference
    models: list[Any]


def read_zoo(path: Path, models_dir: Path | None = None) -> Zoo:
    """Read the model cards.

    Args:
        path: A ``zoo.json`` of format 1.
        models_dir: Folder with more cards, ``*.card.json``, whose weights are beside them.

    Raises:
        CardError: A file cannot be read or is wrong, or bundled weights are not there; the message names card and key.
    """
    file = parse(_ZooFile, read_json(path, "a file of model cards", CardError, format=1), path.name, CardError)
    folder = path.resolve().parent
    cards: dict[str, ModelCard] = {}
    places: dict[str, str] = {}
    for i, raw in enumerate(file.models):
        place = f"{path.name}, model {i + 1}"
        _add(_card_in(folder, raw, place), place, cards, places)
    for own in sorted(models_dir.glob("*.card.json")) if models_dir else ():
        _add(_own_card(own), own.name, cards, places)
    if not cards:
        raise CardError(f"{path.name} lists no model; expected at least one.")
    return Zoo(tuple(cards.values()), file.reference, folder)


def _add(card: ModelCard, place: str, cards: dict[str, ModelCard], places: dict[str, str]) -> None:
    """Add a card by its id, and where it stands; refuse one whose id another has."""
    if card.id in cards:
        raise CardError(
            f"{place} describes {card.id}, as {places[card.id]} does; expected each model only once: give one of them "
            "another family or version, or remove it."
        )
    cards[card.id], places[card.id] = card, place


def _own_card(path: Path) -> ModelCard:
    """Read a card with its weights, and perhaps its rank history, beside it."""
    folder = path.resolve().parent
    card = _card_in(folder, read_json(path, "a model card", CardError), path.name)
    return replace(
        card,
        weights=replace(card.weights, file=str(folder / card.weights.file)),
        history=str(folder / card.history) if card.history else None,
    )


def _card_in(folder: Path, data: object, where: str) -> ModelCard:
    """Return a card from its JSON value; its weights must be in the folder unless they are downloaded."""
    card = parse_card(data, where)
    file = card.weights.file
    if card.bundled and not os.path.isfile(folder / file):  # noqa: PTH113  (Path.is_file raises if a path is too long)
        raise CardError(f"{where}, weights: file is {shown(file)}; expected a file that is in {folder}.")
    return card


def parse_card(data: object, where: str) -> ModelCard:
    """Return a card from its JSON value.

    Raises:
        CardError: A key is missing, unknown or has a wrong value; the message begins with ``where``.
    """
    return parse(ModelCard, data, where, CardError)
