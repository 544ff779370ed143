"""Fixtures of the tests in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.helpers.pages import PATIENCE


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a tab; fails the test if a script fails, the page's policy is broken, or another machine is contacted."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(1000 * PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda request: problems.append(request.url) if _outside(request.url) else None)
    yield page
    page.close()
    assert problems == [], "no script error, no breach of the policy, and nothing but this server is contacted"


def _outside(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))
