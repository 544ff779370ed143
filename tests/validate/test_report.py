"""A validation's report as files: each names its file, date, number of photos and margins; no key was lost."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from lowrank_demo.charts.report_page import report_page
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.runtime.interval import half_width
from lowrank_demo.validate.report import ModelResult, Report, dump_json, report_csv, report_text
from tests.helpers.examples import CONDITIONS

KEYS = {
    "file",
    "total",
    "complete",
    "count",
    "unreadable",
    "unreadable_records",
    "images_per_second",
    "conditions",
    "models",
    "per_class_errors",
    "most_confused",
}
MODEL_KEYS = [
    "id",
    "count",
    "top1_error",
    "top5_error",
    "loss",
    "published_top1_error",
    "published_top5_error",
    "top1_difference",
    "top5_difference",
    "weights_sha256",
]
"""What programs read since the first version of the report."""


@pytest.fixture
def cards(zoo: Zoo) -> list[ModelCard]:
    return [zoo.get("scheme_2/v5"), zoo.get("bundled/scheme_2/v5")]


@pytest.fixture
def report(cards: list[ModelCard]) -> Report:
    return Report(
        file="photos.lmdb",
        total=90,
        count=90,
        unreadable=(),
        models=tuple(ModelResult(card, 90, 40.0, 20.0, 1.5) for card in cards),
        images_per_second=12.0,
        complete=True,
        class_count={291: 90},
        class_right={card.id: ({291: 54}, {291: 72}) for card in cards},
        confused={},
        conditions=CONDITIONS,
        left_out=(("bundled/scheme_1/v4", "The weights are <b>damaged</b>."),),
        measured_at=datetime(2026, 7, 3, 9, 8, 7, tzinfo=timezone.utc),
    )


def test_json(report: Report, cards: list[ModelCard]) -> None:
    data = json.loads(dump_json(report))
    assert set(data) >= KEYS
    assert (data["file"], data["count"], data["measured_at"]) == ("photos.lmdb", 90, "2026-07-03T09:08:07+00:00")
    assert data["left_out"] == [{"id": "bundled/scheme_1/v4", "reason": "The weights are <b>damaged</b>."}]
    assert [model["id"] for model in data["models"]] == [card.id for card in cards]
    for model in data["models"]:
        assert list(model)[: len(MODEL_KEYS)] == MODEL_KEYS
        assert model["top1_margin"] == pytest.approx(half_width(40, 90))
        assert model["top5_margin"] == pytest.approx(half_width(20, 90))


def test_csv(report: Report, cards: list[ModelCard]) -> None:
    rows = list(csv.DictReader(io.StringIO(report_csv(report))))
    assert [row["id"] for row in rows] == [card.id for card in cards]
    for row in rows:
        assert list(row)[: len(MODEL_KEYS)] == MODEL_KEYS, "a program that counts columns finds the old ones"
        assert (row["file"], row["count"]) == ("photos.lmdb", "90")
        assert row["measured_at"] == "2026-07-03T09:08:07+00:00"
        assert float(row["top1_margin"]) == pytest.approx(half_width(40, 90))
        assert float(row["top5_margin"]) == pytest.approx(half_width(20, 90))


def test_html(report: Report, zoo: Zoo) -> None:
    page = report_page(report, zoo)
    for text in (
        "<h1>Validation on photos.lmdb</h1>",
        "2026-07-03 09:08 UTC: 90 images",
        f"<b>40.00 %</b> ± {half_width(40, 90):.1f}",
        f"<b>20.00 %</b> ± {half_width(20, 90):.1f}",
        "<b>bundled/scheme_1/v4</b>: The weights are &lt;b&gt;damaged",
    ):
        assert text in page


def test_text_names_who_was_left_out(report: Report) -> None:
    text = report_text(report)
    assert "90 images of photos.lmdb" in text
    assert "bundled/scheme_1/v4 was left out: The weights" in text
    assert "left out" not in report_text(replace(report, left_out=()))


def test_a_long_id_shifts_no_column(report: Report) -> None:
    first, *others = report.models
    cut = replace(first, card=first.card.truncated([1] * 8))
    assert len(cut.card.id) > 30
    heads, _, *rows = report_text(replace(report, models=(cut, *others))).splitlines()
    columns = {row[: heads.index("images") + 6].rsplit(" ", 1)[1] for row in rows[: 1 + len(others)]}
    assert columns == {f"{one.count}" for one in report.models}


def test_a_file_name_is_no_formula(report: Report) -> None:
    (row, _) = csv.DictReader(io.StringIO(report_csv(replace(report, file="=1+1.lmdb"))))
    assert row["file"] == "'=1+1.lmdb"


def test_no_margin_before_the_first_photo(report: Report, cards: list[ModelCard]) -> None:
    empty = replace(report, count=0, models=(ModelResult(cards[0], 0, None, None, None),))
    (model,) = json.loads(dump_json(empty))["models"]
    assert (model["top1_margin"], model["top5_margin"]) == (None, None)


def test_a_report_is_dated_when_it_is_made(cards: list[ModelCard]) -> None:
    before = datetime.now(timezone.utc)
    report = Report("a", 0, 0, (), (ModelResult(cards[0], 0, None, None, None),), 0, True, {}, {}, {}, CONDITIONS)
    assert before <= report.measured_at <= datetime.now(timezone.utc)
