"""What a visitor does on every page."""

from __future__ import annotations

import time
from pathlib import Path
from weakref import WeakKeyDictionary

from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.helpers.app import RunningApp

# A browser, an app and the tests of another worker share a CI machine's two cores.
PATIENCE = 180
"""Seconds to wait for what the page should show."""
expect.set_options(timeout=1000 * PATIENCE)

# Each page's requests for work that are not answered yet.
_WAITING: WeakKeyDictionary[Page, set[Request]] = WeakKeyDictionary()
_STILL = """async () => {
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


def opened(page: Page, app: RunningApp, query: str = "") -> Page:
    """Open the app with this query and wait until its first photo is answered."""
    if page not in _WAITING:
        waiting = _WAITING[page] = set()
        page.on("request", lambda request: waiting.add(request) if "/queue/" in request.url else None)
        page.on("requestfinished", lambda request: waiting.discard(request))
        page.on("requestfailed", lambda request: waiting.discard(request))
    page.goto(f"{app.url}/?{query}")
    expect(page.locator(".st")).to_have_attribute("data-ready", "true")
    return page


def title(page: Page) -> Locator:
    """Return what names the chosen model and its cost."""
    return page.locator(".st-title")


def top_answer(page: Page) -> Locator:
    """Return the likeliest class that the first view answers with."""
    return page.locator(".st-top .st-name").first


def answers(page: Page) -> list[str]:
    """Return the classes that the first view answers with, the likeliest first."""
    return page.locator(".st-top .st-name").all_inner_texts()


def drop(page: Page, *files: Path | str) -> None:
    """Drop photos."""
    page.set_input_files("#lr-photos input[type=file]", [str(file) for file in files])


class Held(list[Route]):
    """Requests that are held back."""

    released = False

    def release(self) -> None:
        """Let them go, and all that come."""
        self.released = True
        while self:
            self.pop(0).continue_()


def held_back(page: Page, part: str) -> Held:
    """Hold back requests for work whose body has this part."""
    held = Held()

    def hold(route: Route) -> None:
        if part in (route.request.post_data or "") and not held.released:
            held.append(route)
        else:
            route.continue_()

    page.route("**/queue/join*", hold)
    return held


def settle(page: Page) -> None:
    """Wait until every request for work is answered and nothing moves: no change to the page for 0.3 s, no animation.

    What is looked up before that may be drawn anew at any moment. Goes on after 10 s: Gradio's client sometimes opens a
    stream for an answer that has come by another one, and keeps it open.
    """
    waiting, end = _WAITING[page], time.monotonic() + 10
    answered = False
    while not (answered and not waiting) and time.monotonic() < end:
        answered = not waiting
        page.evaluate(_STILL)
