"""The *Classify* tab: drop photos, read labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.media import get_image

from ..errors import ImageError, LowRankError
from ..models.download import DownloadProgress, OnProgress
from ..serve.service import Photo
from ..settings import ASSETS
from .present import message, result_cards

if TYPE_CHECKING:
    from ..classify.inference import Prediction

Classify = Callable[[Sequence[Photo], str, OnProgress], "list[Prediction | ImageError]"]

_OURS = ASSETS / "examples"
EXAMPLES = (get_image("lion.jpg"), _OURS / "cat.jpg", _OURS / "coffee.jpg")
"""Photos of the gradio package and of ours."""
# The examples are buttons that hold nothing but a picture; a screen reader needs their names.
_NAME_EXAMPLES = """
const names = %s;
const name = () => document.querySelectorAll('#lr-examples button.gallery-item:not([aria-label])').forEach(
  (button, index) => button.setAttribute('aria-label', 'Example photo ' + names[index]));
new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
name();
"""
_WELCOME = "Drop photos in the box, or take an example: the five likeliest of 1000 ImageNet classes appear here."


def build(
    classify: Classify, chosen: gr.Radio, max_photos: int, decoder_note: Callable[[], str]
) -> tuple[gr.Gallery, gr.HTML]:
    """Build the tab.

    Args:
        classify: Photos and a model id to answers, reporting a download's progress.
        chosen: The picker's version radio.
        max_photos: Photos answered at once; the rest are left out, saying so.
        decoder_note: Which decoder is in use, in a sentence.

    Returns:
        The photos, and the results, which change after every classification.
    """
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            gallery = gr.Gallery(
                label="Your photos",
                type="filepath",
                interactive=True,
                file_types=["image"],
                columns=3,
                height=300,
                object_fit="cover",
                elem_id="lr-photos",
            )
            examples = gr.Examples(
                [[[str(path)]] for path in EXAMPLES],
                inputs=[gallery],
                label="Examples (nothing is downloaded)",
                api_visibility="private",
                elem_id="lr-examples",
            )
            gr.HTML(
                "", js_on_load=_NAME_EXAMPLES % json.dumps([Path(path).name for path in EXAMPLES]), visible="hidden"
            )
            limits = gr.HTML("", elem_id="lr-decoder")
        with gr.Column(scale=3, min_width=300):
            results = gr.HTML(message(_WELCOME, "lr-welcome"), elem_id="lr-results")

    def answer(
        items: list[tuple[str, str | None]] | None,
        model: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, str]:
        photos = photos_of(items)
        if not photos:
            return message(_WELCOME, "lr-welcome"), ""

        def show(download: DownloadProgress) -> None:
            share = download.bytes_done / download.bytes_total if download.bytes_total else 0
            progress(share, desc=download.text)

        taken = photos[:max_photos]
        left_out = ""
        if len(photos) > max_photos:
            left_out = message(
                f"{len(photos)} photos were dropped; the first {max_photos} are classified: drop the rest on their own."
            )
        try:
            answers = classify(taken, model, show)
        except LowRankError as error:
            return message(str(error)), ""
        return left_out + result_cards(taken, answers), message(decoder_note(), "lr-note")

    listener: dict[str, Any] = {
        "fn": answer,
        "inputs": [gallery, chosen],
        "outputs": [results, limits],
        "api_visibility": "private",
        "trigger_mode": "always_last",
        "concurrency_limit": 4,
        "concurrency_id": "classify",
        "show_progress_on": results,
    }
    gr.on([gallery.change, chosen.change], **listener)
    # Gradio 6.31's gallery reports no change when an example is the first photo in it.
    examples.load_input_event.then(**listener)
    return gallery, results


def photos_of(items: list[tuple[str, str | None]] | None) -> list[Photo]:
    """A gallery's value as photos."""
    paths = [Path(path) for path, _ in items or []]
    return [Photo(path.name, path.read_bytes) for path in paths]
