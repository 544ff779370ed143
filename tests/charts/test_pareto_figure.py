"""The Pareto figure's axes: what it draws is what the cards and the measurements say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from lowrank_demo.charts.pareto import Saving, pareto_figure
from lowrank_demo.classify.latency import Latency
from lowrank_demo.models.cards import Measurement, ModelCard, Zoo
from lowrank_demo.validate.report import ModelResult, Report
from tests.helpers.examples import CONDITIONS

IDS = [f"published/scheme_2/v{i}" for i in range(1, 6)]


def points(figure: Any, name: str) -> dict[str, tuple[float, float]]:
    (trace,) = [trace for trace in figure.data if trace.name and trace.name.startswith(name)]
    return {model: (x, y) for model, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)}


@pytest.mark.parametrize(("saving", "expected"), [("mflops", 151), ("params", 11.3), ("megabytes", 45.4)])
def test_x_axes(zoo: Zoo, saving: Saving, expected: float) -> None:
    card = zoo.get("scheme_2/v5")
    drawn = points(pareto_figure(zoo, "top5", card, saving=saving), "Scheme 2")
    assert list(drawn) == IDS[::-1], "in the order of cost, so that the line does not go back"
    assert drawn[card.id][0] == pytest.approx(expected, rel=0.02)
    assert card.published
    assert drawn[card.id][1] == card.published.top5


def test_time_with_its_spread(zoo: Zoo) -> None:
    times = {IDS[0]: Latency(20, 19, 25), IDS[4]: Latency(10, 9, 11)}
    figure: Any = pareto_figure(zoo, "top1", zoo.get("scheme_2/v5"), saving="latency", latencies=times)
    drawn = points(figure, "Scheme 2")
    assert {model: x for model, (x, _) in drawn.items()} == {IDS[4]: 10, IDS[0]: 20}, "what was not timed is left out"
    (trace,) = [trace for trace in figure.data if trace.name == "Scheme 2"]
    assert (list(trace.error_x.array), list(trace.error_x.arrayminus)) == ([1, 5], [1, 1])


def test_measured_errors_alone(zoo: Zoo) -> None:
    card = zoo.get("scheme_2/v5")
    empty: Any = pareto_figure(zoo, "top1", card, source="validations")
    assert "Nothing was measured yet" in empty.layout.annotations[0].text
    result = ModelResult(card, 100, 43.0, 20.0, 1.0)
    report = Report("a.lmdb", 100, 100, (), (result,), 1.0, True, {}, {}, {}, CONDITIONS)
    figure: Any = pareto_figure(zoo, "top5", card, [report], source="validations")
    assert points(figure, "measured here") == {card.id: (151, 20.0)}
    assert len(figure.data) == 1


def test_measured_errors_of_the_cards_are_lines_of_their_own(zoo: Zoo) -> None:
    def measured(model: str, top1: float, images: int | None = 1000, dataset: str = "a thousand photos") -> ModelCard:
        first = Measurement(top1, top1 / 2, dataset, "validate", images)
        return replace(zoo.get(model), family="bundled", published=None, measured=(first, replace(first, top1=1.0)))

    small, large = measured("scheme_2/v5", 66.0), measured("scheme_2/v1", 60.0)
    cards = (zoo.get("published/scheme_2/v5"), small, large, measured("scheme_1/v4", 65.0))
    figure: Any = pareto_figure(replace(zoo, cards=cards), "top1", small, source="cards")
    name = "Scheme 2 bundled: a thousand photos, 1,000 photos"
    assert [trace.name for trace in figure.data] == [name.replace("2", "1", 1), name, "chosen model"]
    drawn = points(figure, name)
    assert list(drawn) == ["bundled/scheme_2/v5", "bundled/scheme_2/v1"]
    assert [y for _, y in drawn.values()] == [66.0, 60.0]
    margins = figure.data[1].error_y
    assert list(margins.array) == pytest.approx([1.96 * math.sqrt(0.66 * 0.34 / 1000) * 100, 3.036], abs=0.001)
    assert margins.visible
    assert figure.layout.title.text == "Top-1 error on a thousand photos against FLOPs"

    others = (*cards, measured("scheme_1/v3", 70.0, None, "others"))
    figure = pareto_figure(replace(zoo, cards=others), "top5", zoo.get("published/scheme_2/v5"), source="cards")
    assert not figure.data[1].error_y.visible, "without a count there is no margin"
    assert figure.layout.title.text == "Top-5 error against FLOPs", "the legend names both sets"
    assert figure.layout.annotations[0].text == "chosen: not measured"
    published: Any = pareto_figure(replace(zoo, cards=others), "top1", small)
    assert not [trace for trace in published.data if trace.name and "bundled" in trace.name]


def test_truncated_models_are_marked_and_stay_in_sight(zoo: Zoo) -> None:
    card = zoo.get("scheme_2/v5")
    truncated = card.truncated([1] * 8)
    results = [ModelResult(one, 100, error, error / 2, 1.0) for one, error in ((card, 43.0), (truncated, 99.0))]
    reports = [Report("a.lmdb", 100, 100, (), (result,), 1.0, True, {}, {}, {}, CONDITIONS) for result in results]
    figure: Any = pareto_figure(zoo, "top1", card, reports)
    assert points(figure, "measured here: a.lmdb, 100 images") == {card.id: (151, 43.0)}
    ((x, y),) = points(figure, "truncated, not trained: a.lmdb").values()
    assert (x, y) == (truncated.cost.macs / 1e6, 99.0)
    assert figure.layout.xaxis.range[0] < x
    later = ModelResult(card, 100, 50.0, 20.0, 1.0)
    again: Any = pareto_figure(zoo, "top1", card, [*reports, replace(reports[0], models=(later,))])
    assert points(again, "measured here")[card.id] == (151, 50.0), "the latest measurement counts"
