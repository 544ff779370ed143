"""Films what visitors see: numbered screenshots of five visits, and the README's moving picture. ``make film``."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.helpers.app import RunningApp, running_app
from tests.helpers.browser import ARGUMENTS, find
from tests.helpers.pages import drop, opened, settle
from tests.helpers.photos import photo_path

SCREENS = {"wide-light": (1440, 900, "light"), "wide-dark": (1440, 900, "dark"), "phone": (390, 844, "light")}
"""Name -> width, height, theme."""
MOST = 1_500_000
"""Bytes of the moving picture."""
_WIDTH, _MILLISECONDS = 960, 140

# Each visit yields a name whenever a picture is to be taken.


def first_time(page: Page) -> Iterator[str]:
    """Look, drag the rail, drop photos."""
    yield "first-view"
    page.locator("#st-range").focus()
    page.keyboard.press("End")
    yield "rail-at-its-end"
    drop(page, *(photo_path(name) for name in ("lion.jpg", "tower.jpg", "cheetah.jpg")))
    expect(page.locator("#lr-results tbody tr")).to_have_count(3)
    expect(page.locator("#lr-results .ph-evidence figure").first).to_be_visible()
    yield "photos"


def open_tab(page: Page, name: str) -> None:
    """Open a tab; on a phone the last ones are in a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.is_visible():
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown").get_by_text(name)
    tab.click()


def teacher(page: Page) -> Iterator[str]:
    """Take conv1 through its ranks, tell the story."""
    open_tab(page, "Ranks")
    expect(page.locator("#lr-conv1 img")).to_have_count(2)
    page.locator(".lr-rank input").focus()
    page.keyboard.press("Home")
    yield "conv1-at-rank-1"
    open_tab(page, "How it works")
    expect(page.locator(".lr-story li").first).to_be_visible()
    yield "how-it-works"


def reader(page: Page) -> Iterator[str]:
    """Look for the paper's figures."""
    page.locator(".st-scheme").get_by_text("Scheme 1").click()
    page.locator(".st-block").nth(5).focus()
    yield "scheme-1-fc6"
    open_tab(page, "Trade-off")
    expect(page.locator("#lr-pareto-plot .js-plotly-plot")).to_be_visible()
    yield "trade-off"


def engineer(page: Page) -> Iterator[str]:
    """Choose a cut by λ."""
    open_tab(page, "Explore λ")
    for plot in ("ranks", "spectra", "path"):
        expect(page.locator(f"#lr-truncated-{plot} .js-plotly-plot")).to_be_visible()
    yield "explore"
    page.locator(".st-family").get_by_text("the authors'").click()
    yield "authors-weights"


def researcher(page: Page) -> Iterator[str]:
    """Measure."""
    open_tab(page, "Validate")
    page.locator("#lr-start").click()
    expect(page.locator(".lr-job.lr-done")).to_be_visible()
    yield "validated"


VISITS = (first_time, teacher, reader, engineer, researcher)


def film(app: RunningApp, browser: Browser, folder: Path) -> Iterator[Path]:
    """Make every visit on every screen; yields each picture's path."""
    for screen, (width, height, theme) in SCREENS.items():
        for number, visit in enumerate(VISITS, start=1):
            page = browser.new_page(viewport={"width": width, "height": height}, has_touch=width < 500)
            opened(page, app, f"__theme={theme}")
            for name in visit(page):
                settle(page)
                path = folder / f"{screen}-{number}-{name}.png"
                page.screenshot(path=path, full_page=True)
                yield path
            page.close()


def rail(app: RunningApp, browser: Browser, target: Path) -> None:
    """Drag the rail from its least to its most compressed network, and save what is seen."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    opened(page, app, "__theme=light")
    settle(page)
    page.locator("#st-range").focus()
    page.keyboard.press("Home")
    # One place for all frames: the view's height changes with its words.
    box = page.locator("#lr-stage").bounding_box()
    assert box
    frames: list[Image.Image] = []
    place = ""
    while place != (place := page.locator("#st-range").input_value()):
        shot = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
        frames.append(shot.resize((_WIDTH, round(shot.height * _WIDTH / shot.width)), Image.Resampling.LANCZOS))
        page.keyboard.press("ArrowRight")
    durations = [10 * _MILLISECONDS, *[_MILLISECONDS] * (len(frames) - 2), 15 * _MILLISECONDS]
    for quality in range(80, 20, -10):
        frames[0].save(
            target, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=quality, method=4
        )
        if target.stat().st_size <= MOST:
            break
    page.close()


def main(folder: Path, moving: Path) -> None:
    """Start the app and film it."""
    chromium = find()
    if chromium is None:
        raise SystemExit("film: no Chromium here; install one and run again.")
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as cache,
        sync_playwright() as playwright,
        running_app({"LOWRANK_CACHE_DIR": cache}, Path(cache) / "log") as app,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        rail(app, browser, moving)
        print(f"{moving}: {moving.stat().st_size / 1e3:.0f} kB", flush=True)
        for path in film(app, browser, folder):
            print(path, flush=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
