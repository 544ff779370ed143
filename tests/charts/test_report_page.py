"""The report page stands alone: what was measured is in it, and nothing outside it is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser, expect

from lowrank_demo.charts.report_page import report_page
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.validate.report import ModelResult
from tests.helpers.examples import a_report


def test_figures_and_words(zoo: Zoo) -> None:
    page = report_page(a_report(zoo), zoo)
    for text in (
        "43.50",
        "20.25",
        "+2.47",
        "90 images, stopped before the end of its 100",
        "could not be read: 1.",
        "computed by torch in fp32",
    ):
        assert text in page
    assert "<img src=x>" not in page


def test_stopped_before_the_first_image(zoo: Zoo) -> None:
    whole = a_report(zoo)
    models = tuple(ModelResult(one.card, 0, None, None, None) for one in whole.models)
    none = {one.card.id: ({}, {}) for one in models}
    report = replace(whole, count=0, models=models, class_count={}, class_right=none, confused={}, unreadable=())
    page = report_page(report, zoo)
    assert "0 images, stopped before the end of its 100 records" in page
    assert "plotly" not in page


def test_in_a_browser_without_network(zoo: Zoo, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report_page(a_report(zoo), zoo), encoding="utf-8")
    page = browser.new_page(offline=True)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(file.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    expect(page.locator("table").first).to_contain_text("published 41.03 (+2.47)")
    expect(page.locator("body")).to_contain_text("cheetah (30)")
    page.close()
    assert problems == []
