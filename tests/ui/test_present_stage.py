"""What the first view draws."""

from __future__ import annotations

import json
from dataclasses import replace

from lowrank_demo.errors import ImageError
from lowrank_demo.models.cards import BUNDLED_FAMILY, Measurement
from lowrank_demo.models.path import path_of
from lowrank_demo.models.zoo import MeasuredCut, Zoo
from lowrank_demo.ui.present_stage import chosen_value, refused_value, stage_config

_MEASURED = Measurement(60.0, 40.0, "my photos", "validate", 1000)


def first_cut(zoo: Zoo, family: str, scheme: str) -> dict:
    """Return what is drawn of the first network of a path."""
    config = json.loads(stage_config(zoo, {family: {scheme: path_of(zoo, family, scheme)}}, [], []))
    return config["paths"][family][scheme][0]


def test_a_published_network(zoo: Zoo) -> None:
    shown = first_cut(zoo, "published", "scheme_2")
    assert (shown["title"], shown["mflops"], shown["fewer"]) == ("Scheme 2 · v1 · authors'", 321, "2.3")
    assert shown["error"] == "top-1 error 39.1 % on ImageNet (published)"
    assert abs(sum(shown["macs"]) - zoo.get("scheme_2/v1").cost.macs / 1e6) < 0.1


def test_how_good_measured_weights_are(zoo: Zoo) -> None:
    measured = Measurement(66.2, 38.9, "one photo of each of the <1000> classes", "validate", 1000)
    cards = tuple(replace(card, measured=(measured,)) if card.family == BUNDLED_FAMILY else card for card in zoo)
    shown = first_cut(replace(zoo, cards=cards), BUNDLED_FAMILY, "scheme_2")
    assert shown["about"] == (
        "These weights are right on 34 of 100 photos, and within five guesses on 61 (one photo of each of the <1000> "
        "classes: 1,000 photos, ± 3.0)."
    )
    assert shown["error"] == "top-1 error 66.2 ± 2.9 % (1,000 photos)"


def test_the_small_plot_follows_the_bundled_networks(zoo: Zoo) -> None:
    """Versions and the cuts between them, all measured on the same photos."""
    cards = [
        replace(zoo.get(name), family=BUNDLED_FAMILY, published=None, measured=(replace(_MEASURED, top1=top1),))
        for name, top1 in (("scheme_1/v3", 58.0), ("scheme_1/v4", 59.0), ("scheme_2/v4", 60.0), ("scheme_2/v5", 61.0))
    ]
    others = [card for card in zoo if card.family != BUNDLED_FAMILY]
    below = MeasuredCut(
        BUNDLED_FAMILY, "scheme_2", "v5", (6, 22, 55, 57, 70, 405, 279, 204), replace(_MEASURED, top1=64.5)
    )
    zoo = replace(zoo, cards=(*others, *cards), cuts=(below,))
    path = [*(card for card in cards if card.scheme == "scheme_2"), zoo.truncated(cards[-1], below.ranks)]
    drawn = json.loads(stage_config(zoo, {BUNDLED_FAMILY: {"scheme_2": path}}, [], []))
    assert drawn["errors"]["title"] == "Weights: bundled. Top-1 error, %: my photos"
    assert (drawn["errors"]["family"], drawn["errors"]["reference"]) == (BUNDLED_FAMILY, None)
    assert [point["error"] for point in drawn["errors"]["series"]["scheme_2"]] == [60.0, 61.0]
    assert drawn["errors"]["lines"]["scheme_2"] == [[166, 60.0], [151, 61.0], [122, 64.5]]
    shown = drawn["paths"][BUNDLED_FAMILY]["scheme_2"][-1]
    assert shown["top1"] == 64.5
    assert shown["about"].startswith("A cut of the trained versions, not trained again at these ranks. It is right on")


def test_the_small_plot_shows_one_set_of_photos(zoo: Zoo) -> None:
    zoo = replace(zoo, cards=tuple(replace(card, measured=()) for card in zoo))
    config = json.loads(stage_config(zoo, {}, [], []))
    assert config["errors"]["title"] == "Top-1 error on ImageNet, %, as published"
    assert {scheme: len(points) for scheme, points in config["errors"]["series"].items()} == {
        "scheme_1": 4,
        "scheme_2": 5,
    }
    assert config["errors"]["reference"]["mflops"] == 724


def test_a_photo_that_is_refused() -> None:
    value = json.loads(refused_value("<b>.jpg", "1f", ImageError("It is <empty>.")))
    assert value["answers"] == {}
    assert value["refused"] == "It is <empty>.", "the browser writes it as text"


def test_a_cut_brings_all_that_is_drawn_for_it(zoo: Zoo) -> None:
    whole = zoo.get("published/scheme_2/v5")
    assert json.loads(chosen_value(zoo, whole))["cut"] is None
    cut = zoo.truncated(whole, [4, 10, 20, 20, 30, 60, 60, 60])
    value = json.loads(chosen_value(zoo, cut))
    assert value["id"] == value["cut"]["id"] == cut.id
    assert value["cut"]["ranks"] == list(cut.ranks)
    assert value["cut"]["megabytes"] == round(whole.cost.fp32_bytes / 1e6), "all of the file is downloaded"
