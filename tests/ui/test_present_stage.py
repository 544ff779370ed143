"""What the first view draws."""

from __future__ import annotations

import json
from dataclasses import replace

from lowrank_demo.errors import ImageError
from lowrank_demo.models.cards import Measurement, Zoo
from lowrank_demo.models.path import path_of
from lowrank_demo.ui.present_stage import refused_value, stage_config


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
    cards = tuple(replace(card, measured=(measured,)) if card.family == "preview" else card for card in zoo)
    shown = first_cut(replace(zoo, cards=cards), "preview", "scheme_2")
    assert shown["about"] == (
        "These weights are right on 34 of 100 photos, and within five guesses on 61 (one photo of each of the <1000> "
        "classes: 1,000 photos, ± 4)."
    )
    assert shown["error"] == "top-1 error 66.2 ± 2.9 % (one photo of each of the <1000> classes)"


def test_the_small_plot_shows_one_set_of_photos(zoo: Zoo) -> None:
    config = json.loads(stage_config(zoo, {}, [], []))
    assert config["errors"]["title"] == "Top-1 error on ImageNet, %, as published"
    assert {scheme: len(points) for scheme, points in config["errors"]["series"].items()} == {
        "scheme_1": 4,
        "scheme_2": 5,
    }
    assert config["errors"]["reference"]["mflops"] == 724


def test_a_photo_that_is_refused() -> None:
    value = json.loads(refused_value("<b>.jpg", ImageError("It is <empty>.")))
    assert value["answers"] == {}
    assert value["refused"] == "It is <empty>.", "the browser writes it as text"
