"""The Trade-off tab in a real Chromium: one set of photos on each plot, and points that choose their model."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.app import RunningApp
from tests.helpers.pages import drop, opened, settle, title, top_answer
from tests.helpers.photos import photo_path

PLOT = "#lr-pareto-plot"
_PLACE = """(plot, id) => {
    for (const trace of plot._fullData) {
        const i = Array.from(trace.customdata || []).indexOf(id);
        if (i < 0) continue;
        const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
        const [x, y] = [xaxis.d2p(plot.calcdata[trace.index][i].x), yaxis.d2p(plot.calcdata[trace.index][i].y)];
        return [box.left + xaxis._offset + x, box.top + yaxis._offset + y];
    }
}"""
_MODELS = "plot => plot._fullData.flatMap(trace => Array.from(trace.customdata || []))"
_OUTSIDE = """plot => {
    const box = plot.getBoundingClientRect();
    return Array.from(plot.querySelectorAll('.gtitle, .annotation-text'))
        .filter(one => one.getBoundingClientRect().right > box.right + 1
            || one.getBoundingClientRect().left < box.left - 1)
        .map(one => one.textContent);
}"""
_BOXES = """plot => ['.annotation-text', '.textpoint text'].flatMap(some => Array.from(plot.querySelectorAll(some)))
    .filter(one => one.textContent.includes('Caffe'))
    .map(one => { const b = one.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"""


def models(page: Page) -> list[str]:
    """Return the ids of the models that the plot shows."""
    return page.locator(f"{PLOT} .js-plotly-plot").evaluate(_MODELS)


def click_point(page: Page, model: str) -> None:
    """Click the point of a model, as a visitor does: on the place where it is drawn."""
    figure = page.locator(f"{PLOT} .js-plotly-plot")
    expect(figure).to_be_visible()
    settle(page)
    figure.scroll_into_view_if_needed()
    x, y = figure.evaluate(_PLACE, model)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.mouse.click(x, y)


def test_published_errors_come_first(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5&tab=trade-off")
    plot = page.locator(PLOT)
    expect(plot).to_contain_text("4.8× fewer MFLOPs")
    expect(plot).to_contain_text("50,000 photos, as published")
    expect(plot.locator(".legend")).to_contain_text("Caffe-AlexNet, not compressed")
    shown = models(page)
    assert len(set(shown)) == 9
    assert all(model.startswith("published/") for model in shown), "what was measured elsewhere is another plot"
    page.locator("#lr-source").get_by_label("bundled weights").check()
    expect(plot.locator(".legend")).to_contain_text("Scheme 2 · bundled")
    expect(plot).not_to_contain_text("fewer MFLOPs")
    expect(plot.locator(".legend")).not_to_contain_text("authors'")
    measured = models(page)
    assert "bundled/scheme_2/v5" in measured
    assert not [model for model in measured if model.startswith("published/")]


def test_a_click_on_a_point_chooses_its_model(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5&family=bundled&tab=trade-off")
    for scheme, version in (("1", "v2"), ("2", "v1")):
        click_point(page, f"published/scheme_{scheme}/{version}")
        expect(title(page)).to_contain_text(f"Scheme {scheme} · {version}")
        expect(page.locator(".st-stops .st-here b")).to_have_text(version)
        page.wait_for_url(re.compile(f"scheme={scheme}&version={version}"))
        expect(page.locator(f"{PLOT} .legend")).to_contain_text("chosen model")
    assert "family=" not in page.url
    assert "tab=trade-off" in page.url
    page.reload()
    expect(title(page)).to_contain_text("Scheme 2 · v1")


def test_a_truncated_point_survives_a_reload(app: RunningApp, page: Page) -> None:
    opened(page, app, "scheme=2&version=v5&family=bundled")
    drop(page, photo_path("lion.jpg"))
    expect(page.locator(".st-photo figcaption")).to_contain_text("lion.jpg")
    page.get_by_role("tab", name="Explore").click()
    expect(page.locator("#lr-truncated")).to_contain_text("λ = 1.00e-4, μ = 0.01: ranks ")
    page.locator("#lr-truncated-file input").click()
    page.get_by_role("option", name="sample-photos.lmdb").click()
    page.locator("#lr-truncated-measure").click()
    expect(page.locator(".lr-job.lr-done .lr-scroll table")).to_contain_text("bundled/scheme_2/v5@")
    page.get_by_role("tab", name="Trade-off", exact=True).click()
    settle(page)
    page.locator("#lr-source").get_by_label("measured here").check()
    expect(page.locator(f"{PLOT} .legend")).to_contain_text("cut, not trained again")
    (cut,) = {model for model in models(page) if "@" in model}
    click_point(page, cut)
    expect(title(page)).to_contain_text("cut to")
    chosen = title(page).text_content() or ""
    page.wait_for_url(re.compile(r"version=v5(@|%40)[\d-]+"))
    assert "family=bundled" in page.url
    assert unquote(page.url).partition("@")[2].startswith(cut.partition("@")[2]), "exactly this cut is on the rail now"
    expect(page.locator(".st-block .st-rank")).to_have_text(
        [f"rank {rank}" for rank in cut.partition("@")[2].split("-")]
    )
    expect(top_answer(page)).to_have_text("lion")
    expect(page.locator(".st-top")).not_to_have_class(re.compile("st-old"))
    before = unquote(page.url)
    page.reload()
    expect(page.locator(".st")).to_have_attribute("data-ready", "true")
    expect(title(page)).to_have_text(chosen)
    expect(page.locator(".st-top li")).to_have_count(5)
    expect(page.locator(f"{PLOT} .js-plotly-plot")).to_be_visible()
    expect(page.locator(".toast-body")).to_have_count(0)
    assert unquote(page.url) == before


@pytest.mark.parametrize("query", ["scheme=2&version=v5", "scheme=2&version=v5&family=bundled"])
def test_words_fit_a_phone(app: RunningApp, page: Page, query: str) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    opened(page, app, f"{query}&tab=trade-off")
    figure = page.locator(f"{PLOT} .js-plotly-plot")
    expect(figure).to_contain_text("4.8× fewer MFLOPs")
    settle(page)
    assert figure.evaluate(_OUTSIDE) == []
    headline, label = figure.evaluate(_BOXES)
    apart = headline[2] <= label[0] or label[2] <= headline[0] or headline[3] <= label[1] or label[3] <= headline[1]
    assert apart, "the headline does not cover the reference's name"
