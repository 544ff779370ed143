"""Which measurements one plot shows together: all of one set of photos, and of no other."""

from __future__ import annotations

from dataclasses import replace

from lowrank_demo.charts.points import Point, of_cards, of_reports, published, sets_of
from lowrank_demo.models.cards import Errors, Measurement, ModelCard
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.validate.report import ModelResult, Report
from tests.helpers.examples import CONDITIONS


def a_report(file: str, count: int, *results: tuple[ModelCard, float | None]) -> Report:
    models = tuple(ModelResult(card, count, top1, top1 and top1 / 2, 1.0) for card, top1 in results)
    return Report(file, count, count, (), models, 1.0, True, {}, {}, {}, CONDITIONS)


def test_what_the_paper_states(zoo: Zoo) -> None:
    photos = published(zoo)
    assert [point.card.id for point in photos.points] == [card.id for card in zoo if card.published]
    assert [point.errors for point in photos.points] == [card.published for card in zoo if card.published]
    assert (photos.title, photos.published) == ("ImageNet validation set, 50,000 photos", True)


def test_a_card_stands_in_each_set_it_was_measured_on(zoo: Zoo) -> None:
    paper, one, two = zoo.get("scheme_2/v5"), zoo.get("bundled/scheme_2/v5"), zoo.get("bundled/scheme_1/v4")
    first, again = Measurement(50, 20, "sharp", "validate", 10), Measurement(60, 30, "sharp", "validate", 10)
    larger, uncounted = replace(first, images=11), replace(first, dataset="others", images=None)
    cards = (
        replace(paper, measured=(first,)),
        replace(one, measured=(first, again, larger)),
        replace(two, measured=(uncounted, again)),
    )
    sets = of_cards(replace(zoo, cards=cards))
    assert [photos.title for photos in sets] == ["sharp, 10 photos", "sharp, 11 photos", "others"]
    assert not any(photos.published for photos in sets)
    assert sets[0].points == (Point(cards[1], first), Point(cards[2], again)), "of several of a model the first counts"
    assert sets[0].find(cards[2]) == again
    assert sets[1].find(cards[2]) is None
    cut = replace(cards[1].truncated([1] * 8), measured=(first,))
    assert (sets[0].find(cut), sets[1].find(cut)) == (first, None), "a cut is in no set, but states its own errors"
    assert sets[0].find(cards[0]) is None, "what was published is drawn with the published errors"


def test_files_that_were_validated_on(zoo: Zoo) -> None:
    one, two = zoo.get("bundled/scheme_2/v5"), zoo.get("bundled/scheme_1/v4")
    reports = [
        a_report("a.lmdb", 10, (one, 50.0), (two, 60.0)),
        a_report("b.lmdb", 1, (one, 0.0)),
        a_report("a.lmdb", 10, (one, 40.0)),
        a_report("a.lmdb", 9, (one, 30.0), (two, None)),
    ]
    sets = of_reports(reports)
    assert [photos.title for photos in sets] == ["a.lmdb, 9 photos", "a.lmdb, 10 photos", "b.lmdb, 1 photo"]
    part, whole, _ = sets
    assert [point.card for point in part.points] == [one], "what measured nothing is no point"
    assert (whole.find(one), whole.find(two)) == (Errors(40.0, 20.0), Errors(60.0, 30.0)), "the latest counts"


def test_sources(zoo: Zoo) -> None:
    report = a_report("a.lmdb", 10, (zoo.get("bundled/scheme_2/v5"), 50.0))
    assert sets_of("published", zoo, [report]) == [published(zoo)]
    assert sets_of("cards", zoo, [report]) == of_cards(zoo)
    assert sets_of("validations", zoo, [report]) == of_reports([report])
    assert sets_of("validations", zoo, []) == []
