"""All model cards together: reading their files, and finding a model, or a cut of one, by its id."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import StrictInt

from ..errors import CardError, UnknownModel
from ..runtime.schema import KnownKeys, parse, read_json, shown
from ..runtime.words import counted
from .architecture import CONVOLUTIONS, LAYERS, SCHEMES, Scheme, log_distance, log_ranks
from .cards import BUNDLED_FAMILY, DEFAULT_FAMILY, Measurement, ModelCard, Name, Part, Reference, parse_card


@dataclass(frozen=True)
class MeasuredCut(KnownKeys):
    """Errors of a network between or below a family's versions, which has no card of its own."""

    family: Name
    scheme: Scheme
    version: Name
    """The version that it is cut from."""
    ranks: tuple[StrictInt, ...]
    measured: Measurement


@dataclass(frozen=True)
class Zoo:
    """All model cards, in the file's order."""

    cards: tuple[ModelCard, ...]
    reference: Reference
    folder: Path
    """Folder of the file that the cards were read from; bundled weights are beside it."""
    cuts: tuple[MeasuredCut, ...] = ()

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.cards)

    def get(self, model_id: str) -> ModelCard:
        """Return the card with this id.

        Args:
            model_id: ``family/scheme/version``, or ``scheme/version`` for a published model; with ``@rank-rank-…``
                added, that model truncated to these ranks, as :meth:`truncated` does. For nested versions,
                ``family/scheme@rank-rank-…`` says the same.

        Raises:
            UnknownModel: There is no such model; the message lists those that exist.
        """
        model_id, at, ranks = model_id.partition("@")
        if at:
            if not re.fullmatch(r"[0-9]{1,6}(-[0-9]{1,6})*", ranks):
                raise UnknownModel(
                    f"The ranks after '@' are {shown(ranks)}; expected {len(LAYERS)} numbers with '-' between them."
                )
            whole = [int(rank) for rank in ranks.split("-")]
            family, _, scheme = model_id.partition("/")
            if scheme not in SCHEMES:
                return self.truncated(self.get(model_id), whole)
            if len(whole) != len(LAYERS):
                raise UnknownModel(
                    f"{counted(len(whole), 'rank')} came after '@'; expected {len(LAYERS)}, one for each layer."
                )
            versions = [card for card in self._nested(scheme) if card.family == family]
            if not versions:
                raise UnknownModel(
                    f"{shown(family)} has no nested models of {scheme}; expected a model's id before '@'."
                )
            return self.truncated(versions[0], whole)
        wanted = model_id if model_id.count("/") == 2 else f"{DEFAULT_FAMILY}/{model_id}"
        for card in self.cards:
            if card.id == wanted:
                return card
        known = ", ".join(card.id for card in self.cards)
        raise UnknownModel(f"There is no model {shown(model_id)}; expected one of: {known}.")

    def truncated(self, card: ModelCard, ranks: Sequence[int]) -> ModelCard:
        """Return a model truncated to these ranks, with the errors of the cut if it was measured.

        From a nested file it is cut from the nearest versions, whichever of them the card is. Its linear layers may get
        higher ranks than these versions have: all versions share these factors.

        Raises:
            UnknownModel: These are not eight ranks from 0 to those that the weights have.
        """
        versions = self._alike(card)
        made = _cut(versions, ranks) if versions else card.truncated(ranks)
        if not made.truncated_from:
            return made
        wanted = (made.family, made.scheme, made.version, made.ranks)
        found = (one.measured for one in self.cuts if (one.family, one.scheme, one.version, one.ranks) == wanted)
        return replace(made, measured=tuple(found))

    def _alike(self, card: ModelCard) -> list[ModelCard]:
        """Return the versions of the card's scheme in its nested file, the largest first; empty if it has none."""
        alike = [one for one in self._nested(card.scheme) if (one.family, one.weights) == (card.family, card.weights)]
        return sorted(alike, key=lambda one: one.cost.macs, reverse=True)

    def mflops(self, card: ModelCard) -> int:
        """Return the MFLOPs of a model as the paper counts them: the published figure where its ranks were published.

        The release rounds some figures down and others up, so rounding the computed cost does not give all of them.
        """
        for one in self.of_scheme(card.scheme):
            if one.published and one.ranks == card.ranks:
                return round(one.published.mflops)
        return round(card.cost.macs / 1e6)

    def _nested(self, scheme: str) -> list[ModelCard]:
        return [card for card in self.of_scheme(scheme) if card.weights.format == "nested"]

    def of_scheme(self, scheme: str) -> tuple[ModelCard, ...]:
        """Return the cards of one scheme."""
        return tuple(card for card in self.cards if card.scheme == scheme)


_LINEAR = slice(CONVOLUTIONS.stop, None)


def _cut(versions: Sequence[ModelCard], ranks: Sequence[int]) -> ModelCard:
    """Return what a nested file is at these ranks: a version, or a cut of the versions that are nearest."""
    weighed = _nearest(versions, ranks)
    parts = [
        Part(one.version, (*map(min, one.ranks[CONVOLUTIONS], ranks), *ranks[_LINEAR]), weight)
        for one, weight in weighed
    ]
    limits = [max(one.ranks[i] for one in versions) for i in range(len(LAYERS))]
    return weighed[0][0].truncated(ranks, limits, parts)


def _nearest(versions: Sequence[ModelCard], ranks: Sequence[int]) -> list[tuple[ModelCard, float]]:
    """Return the version that ranks are nearest to, or the two that they lie between, with their weights in a mean.

    Only convolutions count: they have a U for each version, while all versions share the factors of linear layers. The
    distance of two rank sets is the sum of the differences of their ranks' logarithms.

    Args:
        versions: From the most MACs down.
        ranks: Ranks of a cut.
    """
    to = log_ranks(ranks)
    ways = [log_ranks(one.ranks) for one in versions]
    found = [(log_distance(way, to), [(one, 1.0)]) for one, way in zip(versions, ways, strict=True)]
    for (larger, start), (smaller, end) in pairwise(zip(versions, ways, strict=True)):
        length = log_distance(start, end)
        share = (log_distance(start, to) - log_distance(end, to) + length) / (2 * length) if length else 1.0
        between = [(1 - share) * a + share * b for a, b in zip(start, end, strict=True)]
        found.append((log_distance(between, to), [(larger, 1 - share), (smaller, share)]))
    # A version alone comes first where a mean is not nearer by more than rounding.
    return min(found, key=lambda one: round(one[0], 6))[1]


@dataclass(frozen=True)
class _ZooFile(KnownKeys):
    reference: Reference
    models: list[Any]
    cuts: tuple[MeasuredCut, ...] = ()


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
    zoo = Zoo(tuple(cards.values()), file.reference, folder, file.cuts)
    for i, cut in enumerate(file.cuts):
        try:
            found = zoo.truncated(zoo.get(f"{cut.family}/{cut.scheme}/{cut.version}"), cut.ranks)
        except UnknownModel as error:
            raise CardError(f"{path.name}, cut {i + 1}: {error}") from error
        if len(found.measured) != 1 or not found.truncated_from or found.version != cut.version:
            raise CardError(
                f"{path.name}, cut {i + 1}: it is listed twice, or is no cut of {cut.version}; expected each cut once, "
                "with the version that it is cut from."
            )
    return zoo


def _add(card: ModelCard, place: str, cards: dict[str, ModelCard], places: dict[str, str]) -> None:
    """Add a card and its place by the card's id; refuse a card whose id is taken."""
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
    if card.family in (DEFAULT_FAMILY, BUNDLED_FAMILY):
        raise CardError(
            f"{path.name}, family: found {shown(card.family)}, which is the app's own; expected another name for your "
            "model's family."
        )
    weights = replace(card.weights, file=str(folder / card.weights.file))
    if weights.statistics:
        weights = replace(weights, statistics=replace(weights.statistics, file=str(folder / weights.statistics.file)))
    return replace(card, weights=weights, history=str(folder / card.history) if card.history else None)


def _card_in(folder: Path, data: object, where: str) -> ModelCard:
    """Return a card from its JSON value; its weights must be in the folder unless they are downloaded."""
    card = parse_card(data, where)
    files = {"file": card.weights.file} if card.bundled else {}
    if card.weights.statistics:
        files["statistics"] = card.weights.statistics.file
    for key, file in files.items():
        if not os.path.isfile(folder / file):  # noqa: PTH113  (Path.is_file raises if a path is too long)
            raise CardError(f"{where}, weights: {key} is {shown(file)}; expected a file that is in {folder}.")
    return card
