"""The path of a family and scheme: its networks from the least to the most compressed, with cuts between the versions.

Versions whose factors are ordered by importance can be cut to any rank: the first r components of a layer are its layer
of rank r. So the path also has networks with ranks between two versions and below the last one. None of these was
trained at exactly its ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from .cards import ModelCard
from .zoo import Zoo

BETWEEN = 5
"""Cuts between two versions."""
BELOW = 8
"""Cuts below the last version. The smallest has half its ranks, and its answers mean nothing."""
_SMALLER = 0.92
"""Ratio of the ranks of two cuts below the last version."""


def path_of(zoo: Zoo, family: str, scheme: str) -> tuple[ModelCard, ...]:
    """Return a family's versions of one scheme and the cuts between them, in order of falling MACs.

    Only bundled versions are cut, and only if they share one file or there is just one: their factors are ordered, or
    one decomposition orders them.
    """
    versions = [card for card in zoo.of_scheme(scheme) if card.family == family]
    versions.sort(key=lambda card: card.cost.macs, reverse=True)
    if not versions or not can_be_cut(versions):
        return tuple(versions)
    # Keyed by ranks: rounding may give two cuts the same ranks, and a version replaces a cut that has its ranks.
    known = {card.ranks: card for card in (*_between(zoo, versions), *_below(zoo, versions[-1]))}
    known |= {card.ranks: card for card in versions}
    return tuple(sorted(known.values(), key=lambda card: card.cost.macs, reverse=True))


def can_be_cut(versions: list[ModelCard]) -> bool:
    """Return whether these versions have one set of factors, from which any lower rank follows."""
    files = {card.weights for card in versions}  # with their digests
    return len(files) == 1 and all(card.bundled for card in versions)


def _between(zoo: Zoo, versions: list[ModelCard]) -> Iterator[ModelCard]:
    for larger, smaller in pairwise(versions):
        for number in range(1, BETWEEN + 1):
            share = number / (BETWEEN + 1)
            # At most the larger version's rank: the smaller one may have a higher rank in some layer.
            ranks = [
                min(a, max(1, round(a ** (1 - share) * b**share)))
                for a, b in zip(larger.ranks, smaller.ranks, strict=True)
            ]
            yield zoo.truncated(larger, ranks)


def _below(zoo: Zoo, last: ModelCard) -> Iterator[ModelCard]:
    for number in range(1, BELOW + 1):
        yield zoo.truncated(last, [max(1, round(rank * _SMALLER**number)) for rank in last.ranks])
