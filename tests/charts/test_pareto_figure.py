"""The trade-off figure: what it draws is what the cards and the measurements say, of one set of photos."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from lowrank_demo.charts.pareto import Saving, pareto_figure
from lowrank_demo.charts.points import of_cards, of_reports, published
from lowrank_demo.classify.latency import Latency
from lowrank_demo.models.cards import Measurement, ModelCard
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.runtime.interval import wilson
from lowrank_demo.validate.report import ModelResult, Report
from tests.helpers.examples import CONDITIONS

IDS = [f"published/scheme_2/v{i}" for i in range(1, 6)]
PAPER = "Scheme 2 · authors'"
CUT = "Scheme 2 · bundled, cut, not trained again"


def names(figure: Any) -> list[str]:
    return [unescape(trace.name) for trace in figure.data]


def trace_of(figure: Any, name: str) -> Any:
    (trace,) = [trace for trace in figure.data if unescape(trace.name) == name]
    return trace


def points(figure: Any, name: str) -> dict[str, tuple[float, float]]:
    trace = trace_of(figure, name)
    return {model: (x, y) for model, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)}


def notes(figure: Any) -> str:
    return " | ".join(note.text for note in figure.layout.annotations)


def a_report(*results: ModelResult, file: str = "a.lmdb") -> Report:
    return Report(file, 100, 100, (), results, 1.0, True, {}, {}, {}, CONDITIONS)


@pytest.mark.parametrize(("saving", "expected"), [("mflops", 151), ("params", 11.3), ("megabytes", 45.4)])
def test_x_axes(zoo: Zoo, saving: Saving, expected: float) -> None:
    card = zoo.get("scheme_2/v5")
    figure: Any = pareto_figure(zoo, published(zoo), "top5", card, saving)
    drawn = points(figure, PAPER)
    assert list(drawn) == IDS[::-1], "in the order of cost, so that the line does not go back"
    assert drawn[card.id][0] == pytest.approx(expected, rel=0.02)
    assert card.published
    assert drawn[card.id][1] == card.published.top5
    unit = {"mflops": "MFLOPs", "params": "millions of parameters", "megabytes": "megabytes of float32 weights"}[saving]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (unit, "top-5 error, %")


def test_published_errors_with_their_reference_and_headline(zoo: Zoo) -> None:
    card = zoo.get("scheme_2/v5")
    figure: Any = pareto_figure(zoo, published(zoo), "top1", card)
    assert names(figure) == ["Scheme 1 · authors'", PAPER, "Caffe-AlexNet, not compressed", "chosen model"]
    drawn = points(figure, PAPER) | points(figure, "Scheme 1 · authors'")
    cards = [one for one in zoo if one.published]
    assert drawn == {one.id: (zoo.mflops(one), one.published.top1) for one in cards if one.published}
    reference = trace_of(figure, "Caffe-AlexNet, not compressed")
    assert (list(reference.x), list(reference.y)) == ([724], [42.7])
    assert reference.customdata is None, "there are no weights to choose"
    assert points(figure, "chosen model") == {card.id: (151, 41.03)}
    assert "<b>4.8× fewer MFLOPs</b><br>and 1.7 points less<br>error than Caffe-AlexNet" in notes(figure)
    assert "50,000 photos, as published" in figure.layout.title.text
    for axis, values in (
        ("xaxis", [x for one in figure.data for x in one.x]),
        ("yaxis", [y for one in figure.data for y in one.y]),
    ):
        low, high = figure.layout[axis].range
        assert low < min(values)
        assert high > max(values)
    by_size: Any = pareto_figure(zoo, published(zoo), "top1", card, "params")
    assert "Caffe-AlexNet" not in str([*names(by_size), notes(by_size)]), "its size was not published"


def test_time_with_its_spread(zoo: Zoo) -> None:
    times = {IDS[0]: Latency(20, 19, 25), IDS[4]: Latency(10, 9, 11)}
    figure: Any = pareto_figure(zoo, published(zoo), "top1", zoo.get("scheme_2/v5"), "latency", times)
    drawn = points(figure, PAPER)
    assert {model: x for model, (x, _) in drawn.items()} == {IDS[4]: 10, IDS[0]: 20}, "what was not timed is left out"
    trace = trace_of(figure, PAPER)
    assert (list(trace.error_x.array), list(trace.error_x.arrayminus)) == ([1, 5], [1, 1])
    assert trace.error_x.visible
    assert figure.layout.xaxis.title.text == "ms for one image, measured here"
    plain: Any = pareto_figure(zoo, published(zoo), "top1")
    assert not trace_of(plain, PAPER).error_x.visible, "a count of operations has no spread"
    untimed: Any = pareto_figure(zoo, published(zoo), "top1", zoo.get("scheme_2/v5"), "latency")
    assert not untimed.data


def test_measured_errors_alone(zoo: Zoo) -> None:
    card = zoo.get("scheme_2/v5")
    empty: Any = pareto_figure(zoo, None, "top1", card)
    assert "Nothing has been measured yet" in empty.layout.annotations[0].text
    assert not empty.data
    (photos,) = of_reports([a_report(ModelResult(card, 100, 43.0, 20.0, 1.0))])
    figure: Any = pareto_figure(zoo, photos, "top5", card)
    assert points(figure, PAPER) == {card.id: (151, 20.0)}
    assert names(figure) == [PAPER, "chosen model"], "neither published errors nor the paper's reference"
    assert "fewer MFLOPs" not in notes(figure)
    assert "a.lmdb, 100 photos" in figure.layout.title.text
    assert "as published" not in figure.layout.title.text


def test_measured_errors_of_the_cards_are_lines_of_their_own(zoo: Zoo) -> None:
    def measured(model: str, top1: float, images: int | None = 1000, dataset: str = "a thousand photos") -> ModelCard:
        first = Measurement(top1, top1 / 2, dataset, "validate", images)
        return replace(zoo.get(model), family="bundled", published=None, measured=(first, replace(first, top1=1.0)))

    small, large = measured("scheme_2/v5", 66.0), measured("scheme_2/v1", 60.0)
    cards = (zoo.get("published/scheme_2/v5"), small, large, measured("scheme_1/v4", 65.0))
    own = replace(zoo, cards=cards)
    (photos,) = of_cards(own)
    figure: Any = pareto_figure(own, photos, "top1", small)
    name = "Scheme 2 · bundled"
    assert names(figure) == ["Scheme 1 · bundled", name, "chosen model"]
    drawn = points(figure, name)
    assert list(drawn) == ["bundled/scheme_2/v5", "bundled/scheme_2/v1"]
    assert [y for _, y in drawn.values()] == [66.0, 60.0]
    assert "lines" in trace_of(figure, name).mode
    margins = trace_of(figure, name).error_y
    bounds = [wilson(error, 1000) for error in (66.0, 60.0)]
    assert list(margins.array) == pytest.approx([high - y for y, (_, high) in zip((66, 60), bounds, strict=True)])
    assert list(margins.arrayminus) == pytest.approx([y - low for y, (low, _) in zip((66, 60), bounds, strict=True)])
    assert list(margins.array) == pytest.approx([2.87, 2.99], abs=0.01)
    assert margins.visible
    assert "a thousand photos, 1,000 photos" in figure.layout.title.text

    others = replace(own, cards=(*cards, measured("scheme_1/v3", 70.0, None, "others")))
    first, second = of_cards(others)
    assert [point.card.version for point in second.points] == ["v3"], "errors on other photos are another plot"
    chosen = zoo.get("published/scheme_2/v5")
    figure = pareto_figure(others, second, "top5", chosen)
    assert names(figure) == ["Scheme 1 · bundled"]
    assert not figure.data[0].error_y.visible, "without a count there is no margin"
    assert "chosen: not measured<br>on these photos" in notes(figure)
    low, high = figure.layout.xaxis.range
    assert low < others.mflops(chosen) < high, "the line that marks it is in sight"
    assert "bundled/scheme_1/v3" not in str(pareto_figure(others, first, "top1").data)
    paper: Any = pareto_figure(others, published(others), "top1", small)
    assert not [one for one in names(paper) if "bundled" in one]


def test_families_of_one_set_differ_by_dashes(zoo: Zoo) -> None:
    results = [ModelResult(zoo.get(name), 100, 50.0, 20.0, 1.0) for name in (*IDS[:2], "bundled/scheme_2/v5", IDS[2])]
    (photos,) = of_reports([a_report(*results)])
    figure: Any = pareto_figure(zoo, photos, "top1")
    assert names(figure) == ["Scheme 2 · bundled", PAPER] or names(figure) == [PAPER, "Scheme 2 · bundled"]
    assert len({trace.line.dash for trace in figure.data}) == 2
    assert len({trace.line.color for trace in figure.data}) == 1


def test_truncated_models_are_marked_and_stay_in_sight(zoo: Zoo) -> None:
    card = zoo.get("bundled/scheme_2/v5")
    truncated = zoo.truncated(card, [1] * 8)
    results = [ModelResult(one, 100, error, error / 2, 1.0) for one, error in ((card, 43.0), (truncated, 99.0))]
    reports = [a_report(result) for result in results]
    (photos,) = of_reports(reports)
    figure: Any = pareto_figure(zoo, photos, "top1", card)
    assert points(figure, "Scheme 2 · bundled") == {card.id: (151, 43.0)}
    ((model, (x, y)),) = points(figure, CUT).items()
    assert zoo.get(model) == truncated, "a click on it finds the model"
    assert (x, y) == (zoo.mflops(truncated), 99.0)
    trace = trace_of(figure, CUT)
    assert (trace.mode, trace.marker.symbol) == ("markers", "diamond-open"), "no line joins what was not trained"
    assert trace_of(figure, "Scheme 2 · bundled").marker.symbol == "circle"
    assert figure.layout.xaxis.range[0] < x
    marked: Any = pareto_figure(zoo, photos, "top1", truncated)
    assert points(marked, "chosen model") == {truncated.id: (x, 99.0)}
    (later,) = of_reports([*reports, a_report(ModelResult(card, 100, 50.0, 20.0, 1.0))])
    again: Any = pareto_figure(zoo, later, "top1", card)
    assert points(again, "Scheme 2 · bundled")[card.id] == (151, 50.0), "the latest measurement counts"


def test_what_a_point_says(zoo: Zoo) -> None:
    card = zoo.get("scheme_2/v5")
    figure: Any = pareto_figure(zoo, published(zoo), "top1", card, "megabytes")
    said = dict(zip(trace_of(figure, PAPER).customdata, trace_of(figure, PAPER).hovertext, strict=True))[card.id]
    low, high = wilson(41.03, 50_000)
    for text in ("Scheme 2 · v5", "151 MFLOPs · 45.", f"41.03 % (95 %: {low:.1f} to {high:.1f})", card.lambda_text):
        assert text in said
    for ranks in (card.ranks[:5], card.ranks[5:]):
        assert f": {', '.join(map(str, ranks))}" in said


def test_names_are_no_markup(zoo: Zoo) -> None:
    (photos,) = of_reports([a_report(ModelResult(zoo.get(IDS[0]), 100, 43.0, 20.0, 1.0), file="<img src=x>.lmdb")])
    assert "<img" not in str(pareto_figure(zoo, photos, "top1").to_json()).replace("\\u003c", "<")


@pytest.mark.parametrize("name", ["ImageNet validation set", "photos " * 20, "x" * 100])
def test_the_subtitle_fits_a_phone(zoo: Zoo, name: str) -> None:
    figure: Any = pareto_figure(zoo, replace(published(zoo), name=name), "top1")
    first, *lines = [re.sub("<[^>]*>", "", line).strip() for line in figure.layout.title.text.split("<br>")]
    assert first == "Top-1 error against MFLOPs"
    assert max(map(len, lines)) <= 44
    assert re.sub(r"\W", "", "".join(lines)) == re.sub(r"\W", "", f"{name}, 50,000 photos, as published")
