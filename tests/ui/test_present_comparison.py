"""The comparison table: what differs is marked, what comes from outside is escaped."""

from __future__ import annotations

from lowrank_demo.classify.inference import Guess, Prediction, Time, Timings
from lowrank_demo.data.imagenet import classes
from lowrank_demo.errors import ImageError
from lowrank_demo.models.cards import Zoo
from lowrank_demo.serve.answers import Comparison, Photo
from lowrank_demo.ui.present_comparison import comparison_table


def saying(index: int, probability: float = 0.5) -> Prediction:
    return Prediction((Guess(classes()[index], probability),), "pillow", "cpu", Timings(Time(1), Time(1)))


def test_what_differs_is_marked(zoo: Zoo) -> None:
    cards = (zoo.get("scheme_2/v1"), zoo.get("scheme_2/v5"))
    bad = ImageError("The file is <b>damaged</b>; expected a photo.")
    answers = ((saying(291), saying(293), bad), (saying(291, 0.25), saying(10), bad))
    photos = [Photo(name, lambda: b"") for name in ("a.jpg", "<script>.jpg", "c.jpg")]
    table = comparison_table(photos, Comparison(cards, answers, (None, None, None)), 5)
    assert table.count("lr-differs") == 1
    assert table.count("lr-same") == 3
    assert "agrees on 1 of 2" in table
    assert "25%" in table
    assert "<script>" not in table
    assert "<b>damaged" not in table
    assert "5 photos were dropped; the first 3 are compared" in table
    assert table.index("321 MFLOPs") < table.index("152 MFLOPs")


def test_one_model_alone(zoo: Zoo) -> None:
    table = comparison_table(
        [Photo("a.jpg", lambda: b"")], Comparison((zoo.get("scheme_2/v5"),), ((saying(1),),), (None,)), 1
    )
    assert "nothing to compare it with" in table
