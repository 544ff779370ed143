"""What the page says of a model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lowrank_demo.classify.inference import Guess, Prediction, Time, Timings
from lowrank_demo.data.imagenet import classes
from lowrank_demo.models.cards import Measurement, Zoo
from lowrank_demo.models.store import Where
from lowrank_demo.serve.answers import Comparison, ModelStatus, Photo
from lowrank_demo.ui.present import card_label, model_note, result_cards, summary_bar


@pytest.mark.parametrize(
    ("where", "bar", "label"),
    [
        ("bundled", "bundled, ready", "ready"),
        ("cached", "downloaded, ready", "ready"),
        ("to download", "to download, 46 MB", "↓ 46 MB"),
        ("missing", "weights missing", "weights missing"),
    ],
)
def test_where_the_weights_are(zoo: Zoo, where: Where, bar: str, label: str) -> None:
    status = ModelStatus(zoo.get("published/scheme_2/v5"), where)
    assert f" · {bar}</span>" in summary_bar(status)
    assert f" · {label}\n" in card_label(status)
    assert status.ready == ("ready" in bar)


def test_how_good_measured_weights_are(zoo: Zoo) -> None:
    first = Measurement(66.2, 38.9, "one photo of each of the <1000> classes", "validate", 1000)
    card = replace(zoo.get("scheme_2/v5"), published=None, note="Our own.", measured=(first, replace(first, top1=1.0)))
    assert model_note(card) == (
        "Our own. Right on 34 of 100 photos, and within five guesses on 61 (one photo of each of the &lt;1000&gt; "
        "classes: 1,000 photos, ± 4)."
    )
    bar = summary_bar(ModelStatus(card, "bundled"))
    assert "top-1 error 66.2 ± 2.9 % on one photo of each of the &lt;1000&gt; classes · " in bar
    uncounted = replace(card, note="", measured=(replace(first, images=None, dataset="some"),))
    assert model_note(uncounted) == "Right on 34 of 100 photos, and within five guesses on 61 (some)."
    assert "top-1 error 66.2 % on some · " in summary_bar(ModelStatus(uncounted, "bundled"))
    assert model_note(zoo.get("scheme_2/v5")) == "", "nothing was measured of published weights"


def test_a_time_that_photos_share_says_so(zoo: Zoo) -> None:
    guess = Guess(classes()[291], 0.5)
    photos = [Photo(f"{name}.jpg", bytes) for name in "ab"]
    answers = tuple(
        Prediction((guess,), "pillow", "cpu", times)
        for times in (Timings(Time(8.06), Time(20)), Timings(Time(1.5, 32), Time(20, 32)))
    )
    cards = result_cards(photos, Comparison((zoo.get("scheme_2/v5"),), (answers,), (None, None)))
    assert "decoded by pillow in 8.1 ms · network on cpu 20.0 ms</footer>" in cards
    shared = "(its share of 32 photos)"
    assert f"decoded by pillow in 1.5 ms {shared} · network on cpu 20.0 ms {shared}</footer>" in cards
