"""The pace of bodies, and the memory that all JSON bodies share."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException

from lowrank_demo.serve.arrival import JsonBody, JsonRoom, Pace

LARGE = b"x" * 34_000_000


def test_a_crawling_body_is_refused() -> None:
    """Sixteen uploads of a byte every eight seconds kept out all others for 15 minutes."""
    pace = Pace(10_000)
    pace.came(60, 0)
    pace.came(1, 8)
    with pytest.raises(HTTPException, match="too slowly") as caught:
        pace.came(1, 8)
    assert caught.value.status_code == 408


def test_early_haste_is_not_credited() -> None:
    pace = Pace(10_000)
    pace.came(30_000_000, 1)
    pace.came(10_000, 15)
    with pytest.raises(HTTPException, match="too slowly"):
        pace.came(10_000, 15)


def test_a_steady_body_may_take_its_time() -> None:
    pace = Pace(10_000)
    for _ in range(100):
        pace.came(110_000, 10)


def test_small_bodies_always_have_room() -> None:
    """Twelve large ones that did not end kept out everybody's requests."""
    room = JsonRoom()
    large = [JsonBody(room) for _ in range(12)]
    for body in large[:-1]:
        body.came(LARGE, 1)
    with pytest.raises(HTTPException, match="Too many large requests") as caught:
        large[-1].came(LARGE, 1)
    assert caught.value.status_code == 503
    JsonBody(room).came(b"x" * 64_000, 100)
    for body in large:
        body.release()
    assert room.held == 0
    large[0].came(LARGE, 1)


def test_a_large_body_must_keep_coming() -> None:
    body = JsonBody(JsonRoom())
    body.came(LARGE, 14)
    body.came(LARGE[:50_000], 1)
    with pytest.raises(HTTPException, match="too slowly") as caught:
        body.came(LARGE[:700_000], 15)
    assert caught.value.status_code == 408


@pytest.mark.parametrize("character", ["\N{GRINNING FACE}".encode(), b"\\ud83d\\ude00"])
def test_wide_characters_count_four_times(character: bytes) -> None:
    """One of them made Python keep every character of the text in four bytes."""
    room = JsonRoom()
    body = JsonBody(room)
    body.came(b"x" * 1_000_000, 0)
    assert room.held == 1_000_000
    body.came(character, 0)
    assert room.held == 4 * (1_000_000 + len(character))
    body.came(b"x" * 1000, 0)
    assert room.held == 4 * (1_001_000 + len(character))
    body.release()
    assert room.held == 0
