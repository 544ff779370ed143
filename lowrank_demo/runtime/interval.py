"""How certain an error measured on some photos is: Wilson's 95 % interval. Only this module has the formula."""

from __future__ import annotations

import math

_Z = 1.96
"""95 % of a normal distribution lies within this many standard deviations of its mean."""


def wilson(error: float, images: int) -> tuple[float, float]:
    """Return the bounds of the 95 % interval of an error, in percent.

    Unlike the simpler formula, it stays between 0 and 100, and has a width even if no photo of three is wrong.

    Args:
        error: Share of the photos that are wrong, in percent.
        images: Number of photos, at least 1.
    """
    share = error / 100
    centre = (share + _Z**2 / (2 * images)) / (1 + _Z**2 / images)
    half = _half(share, images)
    return max(0.0, 100 * (centre - half)), min(100.0, 100 * (centre + half))


def half_width(error: float, images: int) -> float:
    """Return half the width of the interval, in percentage points: the ± of an error."""
    return 100 * _half(error / 100, images)


def _half(share: float, images: int) -> float:
    spread = share * (1 - share) / images + _Z**2 / (4 * images**2)
    return _Z / (1 + _Z**2 / images) * math.sqrt(max(0.0, spread))
