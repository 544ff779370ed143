"""The *Photos* tab: the chosen model's answers to all photos."""

from __future__ import annotations

import gradio as gr

from ..errors import LowRankError
from ..serve.places import ANSWERED
from .page import Items, Page, photos_of
from .present import message, result_cards

WELCOME = message("Drop photos above: the five likeliest classes of each appear here.", "lr-welcome")


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Choosing it answers."""
    service = page.desk.service
    max_photos = service.settings.max_photos
    page.results.render()
    note = gr.HTML("", elem_id="lr-decoder")

    def answer(items: Items, model: str) -> tuple[str, str]:
        photos = photos_of(items)
        if not photos:
            return WELCOME, ""
        taken = photos[:max_photos]
        left_out = ""
        if len(photos) > max_photos:
            left_out = message(
                f"{len(photos)} photos were dropped; the first {max_photos} are answered: drop the rest on their own."
            )
        card = page.card(model)
        if not service.status(card).ready:
            return message(f"The weights of {service.zoo.title(card)} are not here yet: download them above."), ""
        try:
            answers = service.compare(taken, [card])
        except LowRankError as error:
            return message(str(error)), ""
        return left_out + result_cards(taken, answers), message(service.machine.note(), "lr-note")

    page.when_open(
        tab,
        [page.photos.change, page.chosen.change],
        answer,
        [page.photos, page.chosen],
        [page.results, note],
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_limit=ANSWERED,
        concurrency_id="classify",
        show_progress_on=page.results,
    )
