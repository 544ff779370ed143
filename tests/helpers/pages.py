"""What a visitor does on every page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, Route, expect

from tests.helpers.app import RunningApp

expect.set_options(timeout=60_000)


def opened(page: Page, app: RunningApp, query: str = "") -> Page:
    """Open the app with this query and wait until its first photo is answered."""
    page.goto(f"{app.url}/?{query}")
    expect(page.locator(".st")).to_have_attribute("data-ready", "true", timeout=60_000)
    return page


def title(page: Page) -> Locator:
    """Return what names the chosen model and its cost."""
    return page.locator(".st-title")


def answers(page: Page) -> list[str]:
    """Return the classes that the first view answers with, the likeliest first."""
    return page.locator(".st-top .st-name").all_inner_texts()


def drop(page: Page, *files: Path | str) -> None:
    """Drop photos."""
    page.set_input_files("#lr-photos input[type=file]", [str(file) for file in files])


def held_back(page: Page, part: str) -> list[Route]:
    """Hold back requests for work whose body has this part; return the list that they go to."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        if part in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/queue/join*", hold)
    return held


def settle(page: Page) -> None:
    """Wait until nothing moves: no change to the page for 0.3 s and no animation that ends; 5 s at most."""
    page.evaluate(
        """async () => {
            const still = new Promise(done => {
                let timer = setTimeout(done, 300)
                const again = () => { clearTimeout(timer); timer = setTimeout(done, 300) }
                const all = { subtree: true, childList: true, attributes: true, characterData: true }
                new MutationObserver(again).observe(document.body, all)
            })
            const ends = one => Number.isFinite(one.effect.getComputedTiming().endTime)
            const moved = () => Promise.allSettled(document.getAnimations().filter(ends).map(one => one.finished))
            await Promise.race([still.then(moved), new Promise(done => setTimeout(done, 5000))])
        }"""
    )
