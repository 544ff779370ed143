"""Wilson's interval: equal to an independent computation, and usable where few or no photos are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank_demo.runtime.interval import half_width, wilson


@pytest.mark.parametrize("images", [1, 3, 17, 280, 50_000])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.87, 1.0])
def test_equals_the_roots_of_its_equation(share: float, images: int) -> None:
    """The bounds are those true errors p that the count would be 1.96 standard deviations away from."""
    error = 100 * round(share * images) / images
    # (error − p)² = 1.96² · p (1 − p) / images, as a polynomial in p
    seen, wide = error / 100, 1.96**2 / images
    roots = np.sort(np.roots([1 + wide, -2 * seen - wide, seen**2]).real)
    assert wilson(error, images) == pytest.approx(tuple(100 * roots), abs=1e-5)
    assert half_width(error, images) == pytest.approx(100 * float(roots[1] - roots[0]) / 2, abs=1e-5)


def test_a_known_interval() -> None:
    """Of 10 photos 1 is wrong: 1.8 to 40.4 %, as tables have it."""
    assert wilson(10, 10) == pytest.approx((1.79, 40.42), abs=0.01)


@pytest.mark.parametrize("images", [1, 3, 1000])
def test_none_wrong_and_all_wrong(images: int) -> None:
    low, high = wilson(0, images)
    assert low == 0
    assert 0 < high < 100
    below, above = wilson(100, images)
    assert above == pytest.approx(100)
    assert above <= 100
    assert below == pytest.approx(100 - high)


def test_more_photos_say_more() -> None:
    widths = [half_width(40, images) for images in (5, 50, 500, 50_000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(0.43, abs=0.005)


def test_the_error_lies_between_its_bounds() -> None:
    for images in (1, 2, 7, 100):
        for wrong in range(images + 1):
            error = 100 * wrong / images
            low, high = wilson(error, images)
            assert 0 <= low <= error + 1e-9
            assert error - 1e-9 <= high <= 100
