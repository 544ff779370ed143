"""The first view: a photo, the network layer by layer, its answer, and the rail that compresses the network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import ImageError, LowRankError
from ..models.architecture import LAYERS
from ..models.transfer import DownloadProgress
from ..serve.answers import Photo
from ..serve.places import ANSWERED
from ..settings import ASSETS
from .events import QUIET
from .page import FIRST_PHOTO, Desk, Items, Page, short_hash
from .present_stage import chosen_value, more_value, photo_value, refused_value, stage_config, unchanged_value

# When the photos change, the browser tells the tabs at once, and the server how many clicks and drops came before.
_CHANGED = """(_, ...values) => {
  document.dispatchEvent(new Event('lr-photos-changed'));
  return [String(window.lowrankClicks || 0), ...values];
}"""
_OWN = ASSETS / "examples"
EXAMPLES = (
    FIRST_PHOTO,
    *(_OWN / f"{name}.jpg" for name in ("zebra", "killer-whale", "sports-car", "pizza", "cat", "coffee")),
)
"""A photo from the gradio package and some from this project. The bundled weights know most of them."""


def create(desk: Desk, model: str) -> gr.HTML:
    """Create the component, not rendered, with a model to start from."""
    return gr.HTML(
        "{}",
        html_template=(ASSETS / "stage.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "stage.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="lr-stage",
        render=False,
        config=stage_config(desk.service.zoo, desk.paths.paths, _ready(desk), EXAMPLES),
        chosen=chosen_value(desk.service.zoo, desk.service.zoo.get(model)),
    )


_TRIED = 8
"""Dropped photos that are tried, until one can be used."""


@dataclass
class Asked:
    """What a visitor has asked for so far, so that an answer to an earlier request never replaces a later one."""

    photos: int = 0
    """How many photos were asked for."""
    clicks: int = 0
    """The number that the page gave to the latest click or drop: requests can arrive in another order."""
    moves: int = 0
    """The same for the moves along the rail."""
    known: tuple[str, ...] = ()
    """The photos that were dropped."""


def _ready(desk: Desk) -> list[str]:
    """Return the ids of the models whose weights are here."""
    return [card.id for card in desk.service.ready_models()]


def _named(path: str) -> str:
    """Return an example's name in the page's address; empty for the first, which needs none, and for other photos."""
    return Path(path).stem if Path(path) in EXAMPLES[1:] else ""


def build(page: Page) -> None:
    """Connect the component. It asks for answers when a photo comes, and for those of a family when it is chosen."""
    desk, stage, shown = page.desk, page.stage, page.shown
    asked = gr.State(Asked())

    def answered(paths: Sequence[str], model: str, asked: Asked, click: int = 0) -> tuple[Any, Any]:
        """Answer the first of these photos that can be used; if none can, say what is wrong with the first."""
        asked.photos += 1
        number = asked.photos
        shown: tuple[str, str] | None = None
        for path in paths[:_TRIED]:
            photo = Photo.from_file(Path(path))
            try:
                found = desk.paths.answers(photo, page.card(model))
                shown = photo_value(photo.name, short_hash(path), found, _ready(desk), _named(path), click), path
                break
            except LowRankError as error:
                shown = shown or (refused_value(photo.name, short_hash(path), error, _named(path), click), path)
                if not isinstance(error, ImageError):
                    break
        return shown if shown and number == asked.photos else (gr.skip(), gr.skip())

    def first(model: str, asked: Asked, request: gr.Request) -> tuple[Any, Any]:
        if asked.photos:
            return gr.skip(), gr.skip()
        wanted = request.query_params.get("photo")
        path = next((one for one in EXAMPLES if one.stem == wanted), EXAMPLES[0])
        return answered([str(path)], model, asked)

    def clicked(path: str, click: int, model: str, asked: Asked) -> tuple[Any, Any]:
        if click < asked.clicks:
            return gr.skip(), gr.skip()
        asked.clicks = click
        return answered([path], model, asked, click)

    def example(model: str, asked: Asked, event: gr.EventData) -> tuple[Any, Any]:
        return clicked(str(EXAMPLES[int(event.example) % len(EXAMPLES)]), int(event.click), model, asked)

    def changed(clicks: str, items: Items, model: str, asked: Asked, path: str) -> tuple[Any, Any]:
        """Show the first new photo that can be used. If there is none, and the one shown is gone, show another."""
        before, asked.known = asked.known, tuple(one for one, _ in items or [])
        if int(clicks) < asked.clicks:  # a click that came later has arrived before
            return gr.skip(), gr.skip()
        asked.clicks = int(clicks)
        new = [one for one in asked.known if one not in before]
        if not new and (path in asked.known or path not in before):
            return unchanged_value(int(clicks)), gr.skip()
        return answered(new or asked.known[:1] or [str(EXAMPLES[0])], model, asked, int(clicks))

    def picked(items: Items, model: str, asked: Asked, event: gr.EventData) -> tuple[Any, Any]:
        # The gallery's change can arrive after a click on one of its photos, which it must not overtake.
        asked.known = tuple(one for one, _ in items or [])
        return clicked(asked.known[int(event.photo)], int(event.click), model, asked)

    def answers(path: str, model: str, downloaded: str = "") -> str:
        path = path or str(EXAMPLES[0])
        try:
            found = desk.paths.answers(Photo.from_file(Path(path)), page.card(model))
            return more_value(short_hash(path), found, _ready(desk), downloaded=downloaded)
        except LowRankError as error:
            return more_value(short_hash(path), None, _ready(desk), error, downloaded)

    def more(path: str, asked: Asked, event: gr.EventData) -> Any:
        model = str(event.model)
        if not event.whole:
            return answers(path, model)
        value, _ = answered([path or str(EXAMPLES[0])], model, asked, asked.clicks)
        return value

    def download(
        path: str,
        event: gr.EventData,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, Any]:
        def show(state: DownloadProgress) -> None:
            progress(state.bytes_done / state.bytes_total if state.bytes_total else 0, desc=state.text)

        model = str(event.model)
        try:
            desk.service.fetch(page.card(model), show)
        except LowRankError as error:
            # Its cause says what went wrong; it also lists the ids of other models, for the command line.
            why = f"{page.card(model).title} could not be downloaded. {error.__cause__ or error}"
            return more_value("", None, _ready(desk), downloaded=model, failed=why), gr.skip()
        return answers(path, model, model), time.time_ns()

    def opened(event: gr.EventData) -> tuple[gr.Tabs, int]:
        return gr.Tabs(selected="ranks"), int(event.layer) % len(LAYERS)

    def settled(asked: Asked, event: gr.EventData) -> Any:
        if int(event.move) < asked.moves:
            return gr.skip()
        asked.moves = int(event.move)
        return page.card(str(event.model)).id

    # Each event is a call of its own: if several waited, Gradio would repeat only the last, without its event's data.
    listener: dict[str, Any] = {
        "outputs": [stage, shown],
        "trigger_mode": "multiple",
        "concurrency_limit": ANSWERED,
        "concurrency_id": "classify",
        **QUIET,
    }
    page.loaded(first, [page.chosen, asked], **listener)
    page.photos.change(changed, [page.opened, page.photos, page.chosen, asked, shown], js=_CHANGED, **listener)
    stage.focus(picked, [page.photos, page.chosen, asked], **listener)
    stage.click(example, [page.chosen, asked], **listener)
    stage.input(
        more,
        [shown, asked],
        stage,
        trigger_mode="multiple",
        concurrency_limit=ANSWERED,
        concurrency_id="classify",
        **QUIET,
    )
    stage.submit(
        download,
        shown,
        [stage, page.ready],
        trigger_mode="multiple",
        concurrency_limit=6,
        api_visibility="private",
        show_progress="minimal",
    )
    stage.release(settled, asked, page.chosen, trigger_mode="multiple", **QUIET)
    stage.select(opened, None, [page.tabs, page.layer], trigger_mode="multiple", **QUIET)
