"""Model cards read from JSON: the zoo's file, and cards that stand alone beside their weights.

File format, version 1: ``{"format": 1, "reference": {...}, "models": [card, ...]}``; the fields of a card are those of
:class:`~.zoo.ModelCard`. A card that does not follow the format is refused with a sentence that names card and field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from .architecture import LAYERS, SCHEMES, full_rank
from .errors import CardError
from .zoo import Errors, Measurement, ModelCard, Reference, WeightsSource, Zoo

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
