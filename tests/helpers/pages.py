"""What a visitor does on every page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.helpers.app import RunningApp

expect.set_options(timeout=20_000)


def opened(page: Page, app: RunningApp, query: str = "") -> Page:
    """Open the app with this query and wait until its models are listed."""
    page.goto(f"{app.url}/?{query}")
    expect(page.locator("#lr-version input")).not_to_have_count(0)
    return page


def drop(page: Page, *files: Path | str) -> None:
    """Drop photos under Classify."""
    page.set_input_files("#lr-photos input[type=file]", [str(file) for file in files])
