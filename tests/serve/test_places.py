"""Places for requests."""

from __future__ import annotations

import pytest

from lowrank_demo.errors import Busy
from lowrank_demo.serve.places import Places


def test_a_place_is_held_and_given_back() -> None:
    places = Places(1, "full")
    with places.take(), pytest.raises(Busy, match="full"), places.take():
        pass
    with pytest.raises(KeyError), places.take():
        raise KeyError
    with places.take():
        pass
