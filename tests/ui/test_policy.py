"""The page under its Content-Security-Policy. The ``page`` fixture fails every browser test that breaks the policy."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.helpers.app import RunningApp
from tests.helpers.pages import opened
from tests.helpers.photos import photo_path

_DROP = """async ({ data, name }) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: 'image/jpeg' }));
  const box = document.querySelector('#lr-photos input[type=file]').parentElement;
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    box.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""


@pytest.mark.parametrize(
    "path", ["/", "/?tab=ranks", "/gradio_api/info", "/theme.css", "/no/such", "/gradio_api/file=x"]
)
def test_every_answer_says_what_may_run(app: RunningApp, path: str) -> None:
    answer = httpx.get(app.url + path)
    policy = answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if path.startswith("/?") or path == "/":
        scripts = policy.split("script-src ")[1].split(";")[0]
        assert "unsafe-inline" not in scripts
        assert scripts.count("sha256-") == answer.text.count("<script") - 1, "all but the one that has an address"
    else:
        assert policy == "default-src 'none'; sandbox"


@pytest.fixture
def breaches(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """Open a tab that may contact others and break the policy; return it with what broke the policy."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    found: list[str] = []
    page.on("console", lambda said: found.append(said.text) if "Content Security Policy" in said.text else None)
    yield page, found
    page.close()


def test_drag_and_drop_and_share(app: RunningApp, breaches: tuple[Page, list[str]]) -> None:
    page, found = breaches
    shared: list[str] = []

    def hub(route: Route) -> None:
        shared.append(route.request.url)
        route.fulfill(body="https://cdn-uploads.huggingface.co/x.png", headers={"Access-Control-Allow-Origin": "*"})

    page.route("https://huggingface.co/**", hub)
    opened(page, app, "scheme=2&version=v5&family=bundled")
    photo = {"data": base64.b64encode(photo_path("lion.jpg").read_bytes()).decode(), "name": "lion.jpg"}
    page.locator("#lr-photos input[type=file]").wait_for(state="attached")
    page.evaluate(_DROP, photo)
    expect(page.locator(".lr-card li")).to_have_count(5)
    page.locator("#lr-photos .thumbnail-item").first.click()
    large = page.locator(".st-drop img")
    expect(large).to_have_attribute("alt", "The photo lion.jpg")
    assert large.evaluate("one => one.decode().then(() => one.naturalWidth)") > 100
    # What Gradio's Share button does on a Space. Pressed, it fails in Gradio 6.31 itself, before it sends anything.
    page.evaluate("fetch('https://huggingface.co/uploads', { method: 'POST', body: 'x' }).then((one) => one.text())")
    assert shared == ["https://huggingface.co/uploads"]
    assert found == []


def test_scripts_of_others_do_not_run(app: RunningApp, breaches: tuple[Page, list[str]]) -> None:
    """What slipped into the page as markup does nothing."""
    page, found = breaches
    opened(page, app)
    blocked = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
            document.body.insertAdjacentHTML('beforeend', '<img src="x" onerror="window.hurt = 1">');
        })"""
    )
    assert blocked == "script-src-attr"
    assert page.evaluate("window.hurt") is None
    assert found
