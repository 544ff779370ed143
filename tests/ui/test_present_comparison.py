"""The answers of several models side by side: what differs is marked, what comes from outside is escaped."""

from __future__ import annotations

from lowrank_demo.classify.inference import Guess, Prediction, Time, Timings
from lowrank_demo.data.imagenet import classes
from lowrank_demo.errors import ImageError
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.serve.answers import Comparison, Photo
from lowrank_demo.ui.present_comparison import comparison_grid, photos_view

BAD = ImageError("The file is <b>damaged</b>; expected a photo.")


def saying(index: int, probability: float = 0.5, decode: Time = Time(1)) -> Prediction:  # noqa: B008
    return Prediction((Guess(classes()[index], probability),), "pillow", "cpu", Timings(decode, Time(1)))


def photos(*names: str) -> list[Photo]:
    return [Photo.from_bytes(b"", name) for name in names]


def keys(count: int) -> list[tuple[str, str]]:
    return [(f"photo{i}", f"evidence{i}") for i in range(count)]


def test_one_row_a_photo_the_chosen_model_first(zoo: Zoo) -> None:
    cards = (zoo.get("scheme_2/v1"), zoo.get("scheme_2/v5"))
    answers = ((saying(291), saying(293), BAD), (saying(291, 0.25), saying(10), BAD))
    compared = Comparison(cards, answers, (None, None, None))
    view = photos_view(zoo, photos("a.jpg", "<script>.jpg", "c.jpg"), compared, cards[1], keys(3))
    assert view.index("151 MFLOPs · chosen") < view.index("321 MFLOPs · agrees on 1 of 2")
    assert "Scheme 2 · v5 · authors&#x27;" in view
    assert view.count('class="ph-differs"') == 1
    assert view.count('class="ph-same"') == 2
    assert "(1 of 3)" in view
    assert view.count("≠</b>") == 1
    assert '<td class="ph-off" colspan="2">The file is &lt;b&gt;damaged' in view
    assert "<script>" not in view
    assert "<b>damaged" not in view
    assert view.count('data-model="published/scheme_2/v1"') == 2
    assert [f'data-evidence="{key}"' in view for key in ("evidence0", "evidence1", "evidence2")] == [True, True, False]


def test_each_row_has_its_own_decode_time(zoo: Zoo) -> None:
    card = zoo.get("scheme_2/v5")
    answers = ((saying(1, decode=Time(8.06)), saying(1, decode=Time(1.5, 32))),)
    view = photos_view(zoo, photos("a.jpg", "b.jpg"), Comparison((card,), answers, (None, None)), card, keys(2))
    assert "<small>decoded in 8.1 ms</small>" in view
    assert "<small>decoded in 1.5 ms (share of 32)</small>" in view
    assert "Only one model is ready" in view
    assert "checkbox" not in view


def test_a_cut_that_is_chosen(zoo: Zoo) -> None:
    whole = zoo.get("bundled/scheme_2/v5")
    cut = zoo.truncated(whole, [max(1, rank // 2) for rank in whole.ranks])
    compared = Comparison((whole, cut), ((saying(1),), (saying(2),)), (None,))
    view = photos_view(zoo, photos("a.jpg"), compared, cut, keys(1))
    title = f"Scheme 2 · cut to {zoo.mflops(cut)} MFLOPs · bundled"
    assert f"{title}<small>chosen</small>" in view
    assert f"What {title} says of the selected photo:" in view
    assert f'data-model="{cut.id}"' in view


def test_a_chosen_model_that_is_not_here(zoo: Zoo) -> None:
    ready = zoo.get("bundled/scheme_2/v5")
    compared = Comparison((ready,), ((saying(1),),), (None,))
    view = photos_view(zoo, photos("a.jpg"), compared, zoo.get("scheme_1/v1"), keys(1))
    assert "chosen</small>" not in view
    assert "What Scheme 2 · v5 · bundled, the first model that is ready, says of the selected photo:" in view


def test_a_grid_to_read(zoo: Zoo) -> None:
    cards = (zoo.get("scheme_2/v1"), zoo.get("scheme_2/v5"))
    answers = ((saying(291), BAD), (saying(10, 0.25), BAD))
    grid = comparison_grid(zoo, photos("a.jpg", "<b>.jpg"), Comparison(cards, answers, (None, None)))
    assert grid.count("≠</b>") == 1
    assert "agrees on 0 of 1" in grid
    assert "25 %" in grid
    assert "<b>.jpg" not in grid
    assert "<b>damaged" not in grid
    assert "<button" not in grid
