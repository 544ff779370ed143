"""The Photos tab in a browser: one row a photo, the selected photo's card and evidence, the filter."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.helpers.app import RunningApp
from tests.helpers.pages import drop, opened, settle
from tests.helpers.photos import open_photo, photo_path

BUNDLED = "scheme=2&version=v5&family=bundled"
SCHEME_1 = "bundled/scheme_1/v4"


def at(page: Page, app: RunningApp, query: str = BUNDLED) -> None:
    opened(page, app, query)
    settle(page)


def rows(page: Page) -> Locator:
    return page.locator("#lr-results tbody tr")


def shown_card(page: Page) -> Locator:
    return page.locator("#lr-results .lr-card:not([hidden])")


def pictures(page: Page) -> Locator:
    return page.locator("#lr-results .ph-evidence figure")


def test_no_photos(app: RunningApp, page: Page) -> None:
    at(page, app)
    expect(page.locator("#lr-results")).to_have_text(
        "Drop photos above to see what every model on this machine says of each."
    )
    expect(page.get_by_role("tab", name="Compare")).to_have_count(0)


def test_a_row_a_photo_and_the_selected_one_in_full(app: RunningApp, page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("not a photo")
    at(page, app)
    drop(page, broken, photo_path("lion.jpg"), photo_path("cheetah.jpg"))
    expect(rows(page)).to_have_count(3)
    heads = page.locator("#lr-results thead th")
    expect(heads.nth(1)).to_contain_text("Scheme 2 · v5 · bundled")
    expect(heads.nth(1)).to_contain_text("151 MFLOPs · chosen")
    expect(rows(page).nth(0)).to_contain_text("is a text")
    expect(rows(page).nth(1).locator("[data-model]").first).to_contain_text("lion")
    expect(rows(page).nth(1).locator("small").first).to_contain_text("ms")
    # The first photo that can be read is selected, above and here, and its evidence appears by itself.
    expect(page.locator(".st-photo figcaption")).to_contain_text("lion.jpg")
    expect(shown_card(page)).to_contain_text("lion.jpg")
    expect(shown_card(page).locator("li")).to_have_count(5)
    expect(shown_card(page).locator("footer")).to_contain_text("decoded by")
    expect(pictures(page)).to_have_count(2)
    expect(pictures(page).first.locator("img")).to_have_attribute(
        "alt", re.compile(r"^Photo lit where Scheme 1 · v1 · bundled sees lion, \d+ %$")
    )

    # By keyboard: what is shown changes at once, and the old evidence is gone with it.
    rows(page).nth(1).locator(".ph-pick").focus()
    page.keyboard.press("ArrowDown")
    assert pictures(page).count() == 0
    expect(rows(page).nth(2).locator(".ph-pick")).to_be_focused()
    expect(rows(page).nth(2).locator(".ph-pick")).to_have_attribute("aria-pressed", "true")
    expect(shown_card(page)).to_contain_text("cheetah.jpg")
    expect(pictures(page)).to_have_count(2)
    assert "lion" not in (pictures(page).first.locator("img").get_attribute("alt") or "")
    # What was drawn before is known, and need not be computed again.
    rows(page).nth(1).click(position={"x": 20, "y": 10})
    assert pictures(page).count() == 2
    expect(shown_card(page)).to_contain_text("lion.jpg")
    rows(page).nth(0).locator(".ph-pick").click()
    expect(shown_card(page)).to_contain_text("is a text")
    expect(page.locator(".ph-why")).to_be_hidden()


def test_evidence_belongs_to_the_photo_that_is_selected_last(app: RunningApp, page: Page) -> None:
    at(page, app)
    drop(page, photo_path("lion.jpg"), photo_path("cheetah.jpg"), photo_path("tower.jpg"))
    expect(rows(page)).to_have_count(3)
    for number in (1, 2):
        rows(page).nth(number).locator(".ph-pick").click()
        page.wait_for_timeout(250)  # longer than the page waits before it asks
    expect(pictures(page)).to_have_count(2)
    answer = rows(page).nth(2).locator("[data-model] > span").first.inner_text().removeprefix("≠ ")
    shown = pictures(page).get_by_alt_text(answer).first
    expect(shown).to_be_visible()
    settle(page)  # answers to earlier questions come
    expect(shown).to_be_visible()
    page.locator('#lr-photos button[aria-label="Clear"]').click()
    expect(pictures(page)).to_have_count(0)
    expect(page.locator("#lr-results .lr-welcome")).to_be_visible()


def test_an_answer_chooses_its_model(app: RunningApp, page: Page) -> None:
    at(page, app)
    drop(page, photo_path("lion.jpg"), photo_path("tower.jpg"))
    cell = rows(page).nth(1).locator(f'[data-model="{SCHEME_1}"]')
    expect(cell).to_be_visible()
    cell.click()
    expect(page.locator("#lr-results thead th").nth(1)).to_contain_text("Scheme 1 · v4 · bundled")
    expect(page.locator(".st-title b")).to_contain_text("Scheme 1")
    expect(page.get_by_role("tab", name="Photos")).to_have_attribute("aria-selected", "true")
    expect(shown_card(page)).to_contain_text("tower.jpg")
    expect(rows(page).nth(1).locator(f'[data-model="{SCHEME_1}"]')).to_be_focused()


def test_only_where_they_disagree(app: RunningApp, page: Page, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        open_photo("cheetah.jpg").crop((40 * number, 30, 40 * number + 200, 230)).save(path)
    at(page, app)
    drop(page, photo_path("lion.jpg"), *paths)
    expect(rows(page)).to_have_count(13)
    unlike = page.locator("#lr-results tbody tr.ph-differs").count()
    expect(page.locator(".ph-filter small")).to_have_text(f"({unlike} of 13)")
    page.get_by_label("Only where they disagree").check()
    expect(page.locator("#lr-results tbody tr:visible")).to_have_count(unlike)
    if unlike:
        expect(page.locator("#lr-results tr.ph-on")).to_be_visible()
    page.get_by_label("Only where they disagree").uncheck()
    expect(page.locator("#lr-results tbody tr:visible")).to_have_count(13)


def test_a_cut_and_a_model_that_is_not_here(app: RunningApp, page: Page) -> None:
    at(page, app)
    drop(page, photo_path("lion.jpg"))
    expect(rows(page)).to_have_count(1)
    page.locator("#st-range").focus()
    page.keyboard.press("ArrowRight")
    head = page.locator("#lr-results thead th").nth(1)
    expect(head).to_contain_text("Scheme 2 · cut to")
    expect(rows(page).locator('[data-model*="@"]')).to_have_count(1)
    at(page, app, "scheme=1&version=v1")
    drop(page, photo_path("lion.jpg"))
    said = page.locator("#lr-results .lr-message")
    expect(said).to_have_text("The weights of Scheme 1 · v1 · authors' are not here yet: download them above.")
    expect(rows(page)).to_have_count(1)


def test_nothing_is_computed_while_the_tab_is_closed(app: RunningApp, page: Page) -> None:
    at(page, app)
    page.get_by_role("tab", name="Ranks", exact=True).click()
    settle(page)
    drop(page, photo_path("lion.jpg"))
    expect(page.locator(".st-photo figcaption")).to_contain_text("lion.jpg")
    settle(page)
    expect(rows(page)).to_have_count(0)
    page.get_by_role("tab", name="Photos").click()
    expect(rows(page)).to_have_count(1)
    expect(pictures(page)).to_have_count(2)


def test_many_photos_take_one_screen(app: RunningApp, page: Page, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(64)]
    for number, path in enumerate(paths):
        open_photo("lion.jpg").crop((number, number, 200 + number, 200 + number)).save(path)
    at(page, app)
    drop(page, *paths)
    expect(rows(page)).to_have_count(64)
    expect(page.locator("#lr-results tr.ph-on")).to_have_count(1)
    box = page.locator("#lr-results").bounding_box()
    assert box
    assert box["height"] < 1000
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
