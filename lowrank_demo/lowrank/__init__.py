"""The method of the paper: rank selection, the learning-compression algorithm, networks at other ranks.

``compress`` compresses any network. Importing the package does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compression import Compressed, compress

__all__ = ["Compressed", "compress"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"{__name__} has no {name}")
    from . import compression

    return getattr(compression, name)
