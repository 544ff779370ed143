"""axe-core over every tab, in both themes, wide and on a phone: no serious violations of WCAG 2.1 AA.

Keyboard use is in test_page.
"""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.helpers.app import RunningApp
from tests.helpers.pages import drop, opened, settle
from tests.helpers.photos import photo_path

TABS = {
    "Photos": "#lr-results .ph-evidence figure",
    "Ranks": "#lr-ranks-plot .js-plotly-plot",
    "Explore λ": "#lr-truncated-path .js-plotly-plot",
    "Trade-off": "#lr-pareto-plot .js-plotly-plot",
    "Validate": "#lr-start",
    "How it works": ".lr-story li",
}
"""Each tab, and what is drawn in it last."""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
GRADIOS_OWN = {("nested-interactive", 'button[aria-label="Click to Upload"]')}
"""In components that we do not draw: a gallery's upload button holds the file input that it opens."""


@pytest.mark.parametrize(
    ("theme", "width"),
    [
        ("light", 1440),
        ("dark", 390),
        pytest.param("dark", 1440, marks=pytest.mark.long),
        pytest.param("light", 390, marks=pytest.mark.long),
    ],
)
def test_no_serious_violations(app: RunningApp, page: Page, theme: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, app, f"__theme={theme}&scheme=2&version=v5&family=bundled")
    drop(page, photo_path("lion.jpg"), photo_path("tower.jpg"))
    expect(page.locator("#lr-photos .grid-wrap img")).to_have_count(2)
    found: list[str] = []
    for tab, last in TABS.items():
        if not page.get_by_role("tab", name=tab, exact=True).count():  # on a phone the last tabs are in a menu
            page.locator(".overflow-menu > button").click()
            page.locator(".overflow-dropdown button", has_text=tab).click()
        else:
            page.get_by_role("tab", name=tab, exact=True).click()
        # The first photos after a start wait for all networks to be loaded.
        expect(page.locator(last).first).to_be_visible()
        settle(page)
        for violation in Axe().run(page, options=RULES).response["violations"]:
            for node in violation["nodes"]:
                target = str(node["target"][0])
                if violation["impact"] in ("serious", "critical") and (violation["id"], target) not in GRADIOS_OWN:
                    found.append(f"{tab}: {violation['id']} at {target}: {node.get('failureSummary', '')}")
    assert found == []
