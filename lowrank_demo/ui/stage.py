"""The first view: a photo, the network layer by layer, its answer, and the rail that compresses the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import LowRankError
from ..models.download import DownloadProgress
from ..serve.answers import Photo
from ..serve.places import ANSWERED
from ..settings import ASSETS
from .events import QUIET
from .page import FIRST_PHOTO, Desk, Items, Page, warn
from .present_stage import more_value, photo_value, refused_value, stage_config

_OWN = ASSETS / "examples"
EXAMPLES = (FIRST_PHOTO, _OWN / "cat.jpg", _OWN / "coffee.jpg")
"""A photo of the gradio package and two of this project."""


def create(desk: Desk, model: str) -> gr.HTML:
    """Create the component, not rendered, at a model."""
    return gr.HTML(
        "{}",
        html_template=(ASSETS / "stage.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "stage.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="lr-stage",
        render=False,
        config=stage_config(desk.service.zoo, desk.paths.paths, _ready(desk), EXAMPLES),
        model=model,
    )


def _ready(desk: Desk) -> list[str]:
    """Return the ids of all networks whose weights are here."""
    every = (card for schemes in desk.paths.paths.values() for path in schemes.values() for card in path)
    return [card.id for card in every if desk.service.status(card).ready]


def build(page: Page) -> None:
    """Connect the component. It asks for answers when a photo comes, and for those of a family when it is chosen."""
    desk, stage, shown = page.desk, page.stage, page.shown

    def answered(path: str, model: str) -> str:
        photo = Photo.from_file(Path(path))
        try:
            return photo_value(photo.name, desk.paths.answers(photo, page.card(model).family), _ready(desk))
        except LowRankError as error:
            return refused_value(photo.name, error)

    def example(model: str, event: gr.EventData) -> tuple[str, str]:
        path = str(EXAMPLES[int(event.example) % len(EXAMPLES)])
        return answered(path, model), path

    def dropped(items: Items, model: str) -> tuple[str, str]:
        path = items[0][0] if items else str(EXAMPLES[0])
        return answered(path, model), path

    def picked(items: Items, model: str, event: gr.EventData) -> tuple[str, str]:
        path = (items or [])[int(event.photo)][0]
        return answered(path, model), path

    def more(path: str, event: gr.EventData) -> str:
        photo = Photo.from_file(Path(path or EXAMPLES[0]))
        try:
            return more_value(desk.paths.answers(photo, page.card(str(event.model)).family), _ready(desk))
        except LowRankError as error:
            warn(error)
            return more_value(None, _ready(desk))

    def download(
        path: str,
        event: gr.EventData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:
        def show(state: DownloadProgress) -> None:
            progress(state.bytes_done / state.bytes_total if state.bytes_total else 0, desc=state.text)

        try:
            desk.service.fetch(page.card(str(event.model)), show)
        except LowRankError as error:
            warn(error)
        return more(path, event)

    def settled(event: gr.EventData) -> str:
        return page.card(str(event.model)).id

    # Each event is a call of its own: Gradio repeats the last of several without the event's data.
    listener: dict[str, Any] = {
        "outputs": [stage, shown],
        "trigger_mode": "multiple",
        "concurrency_limit": ANSWERED,
        "concurrency_id": "classify",
        **QUIET,
    }
    page.loaded(dropped, [page.photos, page.chosen], **listener)
    page.photos.change(dropped, [page.photos, page.chosen], **listener)
    stage.focus(picked, [page.photos, page.chosen], **listener)
    stage.click(example, page.chosen, **listener)
    stage.input(
        more, shown, stage, trigger_mode="multiple", concurrency_limit=ANSWERED, concurrency_id="classify", **QUIET
    )
    stage.submit(download, shown, stage, concurrency_limit=6, api_visibility="private", show_progress="minimal")
    stage.release(settled, None, page.chosen, trigger_mode="multiple", **QUIET)
    stage.select(lambda: gr.Tabs(selected="ranks"), None, page.tabs, **QUIET)
