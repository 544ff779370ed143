"""Makes the README's picture: the first view of the page, in a real browser. ``make screenshot``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.helpers.app import running_app
from tests.helpers.browser import ARGUMENTS, find
from tests.helpers.pages import opened, settle


def main(target: Path) -> None:
    """Start the app, wait for its first answer, save the picture."""
    chromium = find()
    if chromium is None:
        raise SystemExit("screenshot: no Chromium here; install one and run again.")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        running_app({"LOWRANK_CACHE_DIR": folder}, Path(folder) / "log") as app,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        opened(page, app, "__theme=light")
        settle(page)
        shot = Image.open(io.BytesIO(page.screenshot()))
        shot.quantize(256).save(target, optimize=True)
        browser.close()
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
