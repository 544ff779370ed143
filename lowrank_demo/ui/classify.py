"""The *Classify* tab: drop photos, read labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.media import get_image

from ..errors import LowRankError
from ..models.download import DownloadProgress
from ..serve.answers import Photo
from ..serve.places import ANSWERED
from ..settings import ASSETS
from .page import Items, Page
from .present import message, result_cards

_OWN = ASSETS / "examples"
EXAMPLES = (get_image("lion.jpg"), _OWN / "cat.jpg", _OWN / "coffee.jpg")
"""A photo of the gradio package and two of this project."""
WELCOME = message(
    "Drop photos in the box, or take an example: the five likeliest of 1000 ImageNet classes appear here.", "lr-welcome"
)
# An example is a button that holds only a picture; a screen reader needs a name for it.
_NAME_EXAMPLES = """
const names = %s;
const name = () => document.querySelectorAll('#lr-examples button.gallery-item:not([aria-label])').forEach(
  (button, index) => button.setAttribute('aria-label', 'Example photo ' + names[index]));
document.addEventListener('lr-changed', name);
name();
"""

# Browsers cannot show every photo that is answered, such as HEIC: a grey picture in place of a broken one.
_REPLACE_BROKEN = """
document.addEventListener('error', ({ target }) => {
  if (target.tagName !== 'IMG' || !target.closest('#lr-photos')) return;
  target.src = 'data:image/svg+xml,' + encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100" fill="#9ca3af"/>
    <text x="50" y="54" text-anchor="middle" font-family="sans-serif" font-size="11" fill="#111827">no preview</text>
    </svg>`);
}, true);
"""


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab."""
    service, chosen = page.desk.service, page.picker.version
    max_photos = service.settings.max_photos
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            page.photos.render()
            examples = gr.Examples(
                [[[str(path)]] for path in EXAMPLES],
                inputs=[page.photos],
                label="Examples (nothing is downloaded)",
                api_visibility="private",
                elem_id="lr-examples",
            )
            gr.HTML(
                "", js_on_load=_NAME_EXAMPLES % json.dumps([Path(path).name for path in EXAMPLES]), visible="hidden"
            )
            gr.HTML("", js_on_load=_REPLACE_BROKEN, visible="hidden")
            decoder_note = gr.HTML("", elem_id="lr-decoder")
        with gr.Column(scale=3, min_width=300):
            page.results.render()

    def answer(
        items: Items,
        model: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str]:
        photos = photos_of(items)
        if not photos:
            return WELCOME, ""

        def show_download(download: DownloadProgress) -> None:
            share = download.bytes_done / download.bytes_total if download.bytes_total else 0
            progress(share, desc=download.text)

        taken = photos[:max_photos]
        left_out = ""
        if len(photos) > max_photos:
            left_out = message(
                f"{len(photos)} photos were dropped; the first {max_photos} are classified: drop the rest on their own."
            )
        try:
            answers = service.compare(taken, [page.card(model)], show_download)
        except LowRankError as error:
            return message(str(error)), ""
        return left_out + result_cards(taken, answers), message(service.machine.note(), "lr-note")

    listener: dict[str, Any] = {
        "fn": answer,
        "inputs": [page.photos, chosen],
        "outputs": [page.results, decoder_note],
        "api_visibility": "private",
        "trigger_mode": "always_last",
        "concurrency_limit": ANSWERED,
        "concurrency_id": "classify",
        "show_progress_on": page.results,
    }
    gr.on([page.photos.change, chosen.change], **listener)
    # Gradio 6.31's gallery reports no change when an example is the first photo in it.
    examples.load_input_event.then(**listener)


def photos_of(items: Items) -> list[Photo]:
    """Return the photos in a gallery's value."""
    return [Photo.from_file(Path(path)) for path, _ in items or []]
