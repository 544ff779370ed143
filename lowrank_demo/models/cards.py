"""Model cards: every model as data, and finding one by its id. The code knows no model by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import CardError, UnknownModel
from .architecture import LAYERS, SCHEMES, NetworkCost, full_rank, network_cost

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


_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_HEX = re.compile(r"[0-9a-f]{8,64}")


def read_zoo(path: Path, models_dir: Path | None = None) -> Zoo:
    """Read and check the model cards.

    Args:
        path: The zoo.
        models_dir: Folder with more cards, ``*.card.json``, whose weights lie beside them.

    Raises:
        CardError: The file is not a zoo of format 1; the message names the card and the field.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{path.name} cannot be read as JSON ({error}); expected a file of model cards.") from error
    root = _Fields(data, path.name)
    if root.raw.get("format") != 1:
        raise CardError(f"{path.name} has format {root.raw.get('format')!r}; expected 1.")
    reference = root.child("reference")
    cards = tuple(parse_card(raw, f"{path.name}, model {i + 1}") for i, raw in enumerate(root.items("models")))
    if models_dir is not None:
        cards += tuple(_own_card(file) for file in sorted(models_dir.glob("*.card.json")))
    ids = [card.id for card in cards]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice or not cards:
        raise CardError(f"{path.name} lists {', '.join(twice) or 'no model'}{' twice' if twice else ''}.")
    return Zoo(
        cards,
        Reference(reference.text("name"), reference.number("mflops"), _errors(reference)),
        path.resolve().parent,
    )


def _own_card(path: Path) -> ModelCard:
    """A card that stands alone, its weights beside it."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CardError(f"{path.name} cannot be read as JSON ({error}); expected a model card.") from error
    card = parse_card(raw, path.name)
    folder = path.resolve().parent
    history = str(folder / card.history) if card.history else None
    return replace(card, weights=replace(card.weights, file=str(folder / card.weights.file)), history=history)


def parse_card(raw: object, where: str) -> ModelCard:
    """One card from its JSON value.

    Raises:
        CardError: A field is missing or wrong.
    """
    card = _Fields(raw, where)
    weights = card.child("weights")
    published = card.child("published") if card.raw.get("published") is not None else None
    scheme = card.text("scheme")
    if scheme not in SCHEMES:
        raise CardError(f"{where}: scheme is {scheme!r}; expected {' or '.join(SCHEMES)}.")
    return ModelCard(
        family=card.name("family"),
        scheme=scheme,
        version=card.name("version"),
        lambda_=card.number("lambda"),
        ranks=_ranks(card, scheme),
        weights=_weights(weights),
        published=_errors(published) if published else None,
        published_mflops=published.number("mflops") if published else None,
        flops_reduction=published.number("flops_reduction") if published else None,
        pre_shrink=card.whole("pre_shrink", 16, 255) if card.raw.get("pre_shrink") is not None else None,
        licence=card.text("licence"),
        provenance=card.text("provenance"),
        note=card.text("note"),
        measured=tuple(
            Measurement(m.text("dataset"), m.number("top1_error"), m.number("top5_error"), m.text("command"))
            for m in (_Fields(raw, f"{where}, measured") for raw in card.items("measured"))
        ),
        history=card.file("history") if card.raw.get("history") is not None else None,
    )


def _errors(fields: _Fields) -> Errors:
    return Errors(fields.number("top1_error"), fields.number("top5_error"))


def _ranks(card: _Fields, scheme: str) -> tuple[int, ...]:
    ranks = card.items("ranks")
    limits = [full_rank(layer, scheme) for layer in LAYERS]
    good = len(ranks) == len(limits) and all(
        isinstance(r, int) and not isinstance(r, bool) and 1 <= r <= limit
        for r, limit in zip(ranks, limits, strict=True)
    )
    if not good:
        raise CardError(f"{card.where}: ranks are {ranks}; expected {len(limits)} whole numbers, at most {limits}.")
    return tuple(cast("list[int]", ranks))


def _weights(fields: _Fields) -> WeightsSource:
    file, digest, form = fields.file("file"), fields.text("sha256"), fields.text("format")
    url = fields.text("url") if fields.raw.get("url") is not None else None
    if not _HEX.fullmatch(digest):
        raise CardError(f"{fields.where}: sha256 is {digest!r}; expected 8 to 64 lower-case hex digits.")
    if form not in ("pickle", "safetensors"):
        raise CardError(f"{fields.where}: format is {form!r}; expected pickle or safetensors.")
    if url is not None and not url.startswith(("https://", "http://")):
        raise CardError(f"{fields.where}: url is {url!r}; expected an http(s) address.")
    return WeightsSource(file, digest, cast('Literal["pickle", "safetensors"]', form), url)


class _Fields:
    """One JSON object being read, with errors that say where."""

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise CardError(f"{where} is {type(raw).__name__}; expected an object.")
        self.raw: Mapping[str, Any] = raw
        self.where = where

    def _get(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self.raw.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise CardError(f"{self.where}: {key} is {value!r}; expected {expected}.")
        return value

    def text(self, key: str) -> str:
        return self._get(key, str, "a text")

    def name(self, key: str) -> str:
        value = self.text(key)
        if not _NAME.fullmatch(value):
            raise CardError(f"{self.where}: {key} is {value!r}; expected lower-case letters, digits, '_', '.' and '-'.")
        return value

    def file(self, key: str) -> str:
        name = self.text(key)
        if Path(name).is_absolute() or ".." in Path(name).parts or not name:
            raise CardError(f"{self.where}: {key} is {name!r}; expected a name below the card's folder.")
        return name

    def number(self, key: str) -> float:
        value = float(self._get(key, (int, float), "a number"))
        if not 0 <= value < 1e12:
            raise CardError(f"{self.where}: {key} is {value}; expected a number that is not negative.")
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        value = self._get(key, int, "a whole number")
        if not low <= value <= high:
            raise CardError(f"{self.where}: {key} is {value}; expected {low} to {high}.")
        return value

    def items(self, key: str) -> list[Any]:
        return self._get(key, list, "a list")

    def child(self, key: str) -> _Fields:
        return _Fields(self.raw.get(key), f"{self.where}, {key}")
