"""What the page says of an answer."""

from __future__ import annotations

from lowrank_demo.classify.inference import Guess, Prediction, Time, Timings
from lowrank_demo.data.imagenet import classes
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.serve.answers import Comparison, Photo
from lowrank_demo.ui.present import result_cards


def test_a_time_that_photos_share_says_so(zoo: Zoo) -> None:
    guess = Guess(classes()[291], 0.5)
    photos = [Photo.from_bytes(b"", f"{name}.jpg") for name in "ab"]
    answers = tuple(
        Prediction((guess,), "pillow", "cpu", times)
        for times in (Timings(Time(8.06), Time(20)), Timings(Time(1.5, 32), Time(20, 32)))
    )
    cards = result_cards(photos, Comparison((zoo.get("scheme_2/v5"),), (answers,), (None, None)))
    assert "decoded by pillow in 8.1 ms · network on cpu 20.0 ms</footer>" in cards
    shared = "(its share of 32 photos)"
    assert f"decoded by pillow in 1.5 ms {shared} · network on cpu 20.0 ms {shared}</footer>" in cards
