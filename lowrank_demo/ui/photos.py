"""The *Photos* tab: what every ready model says of each photo, and where in a photo its answers come from."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import LowRankError
from ..models.cards import ModelCard
from ..serve.answers import Photo
from ..serve.places import ANSWERED, MAX_MODELS
from ..settings import ASSETS
from .events import QUIET
from .page import Items, Page, photos_of, short_hash
from .present import message
from .present_comparison import photos_view
from .present_evidence import evidence_view

_WELCOME = message("Drop photos above to see what every model on this machine says of each.", "lr-welcome")
_NO_MODEL = message("No model is on this machine yet: download one above.")
_CHANGED = message("The photos or models have changed since: select a photo again.")
# The results show evidence only under the photo that it belongs to, so this event passes it on to them.
_PASS_ON = "watch('value', () => document.dispatchEvent(new CustomEvent('lr-evidence', { detail: props.value })));"


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab. Opening it classifies the photos; selecting a photo shows where its answers come from."""
    service = page.desk.service
    max_photos = service.settings.max_photos
    results = gr.HTML(
        _WELCOME,
        html_template='<div class="ph"></div>',
        js_on_load=(ASSETS / "photos.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="lr-results",
    )
    note = gr.HTML("", elem_id="lr-decoder")
    evidence = gr.HTML("{}", html_template="<i></i>", js_on_load=_PASS_ON, visible="hidden", elem_id="lr-evidence")

    def answer(items: Items, model: str) -> tuple[str, str]:
        photos = photos_of(items)
        if not photos:
            return _WELCOME, ""
        taken = photos[:max_photos]
        chosen = page.card(model)
        cards = _compared(page, chosen)
        if not cards:
            return _NO_MODEL, ""
        try:
            compared = service.compare(taken, cards)
        except LowRankError as error:
            return message(str(error)), ""
        view = photos_view(service.zoo, taken, compared, chosen, _keys(items, cards, len(taken)))
        said = _left_out(page, chosen, len(photos))
        # The time makes every answer a new value, which the page draws.
        return f"<!-- {time.time_ns()} -->{said}{view}", message(service.machine.note(), "lr-note")

    def explain(items: Items, model: str, event: gr.EventData) -> str:
        cards = _compared(page, page.card(model))
        keys = [evidence_key for _, evidence_key in _keys(items, cards, max_photos)]
        wanted = str(event.key)
        if wanted not in keys:
            return _evidence_value(wanted, _CHANGED, kept=False)
        path = Path((items or [])[keys.index(wanted)][0])
        ends = _ends(cards)
        try:
            view, found = page.desk.inspection.evidence(Photo.from_file(path), ends)
        except LowRankError as error:
            return _evidence_value(wanted, message(str(error)), kept=False)
        return _evidence_value(wanted, evidence_view(view, ends, found), kept=True)

    def choose(event: gr.EventData) -> dict[Any, Any]:
        return page.choose(page.card(str(event.model)))

    page.when_open(
        tab,
        [page.photos.change, page.chosen.change, page.ready.change],
        answer,
        [page.photos, page.chosen],
        [results, note],
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_limit=ANSWERED,
        concurrency_id="classify",
        show_progress_on=results,
    )
    results.select(
        explain, [page.photos, page.chosen], evidence, trigger_mode="always_last", concurrency_limit=1, **QUIET
    )
    results.click(choose, None, [page.stage, page.chosen], trigger_mode="multiple", **QUIET)


def _compared(page: Page, chosen: ModelCard) -> list[ModelCard]:
    """Return the models that answer: the chosen one, if it is ready, and all others that are, up to the limit."""
    service = page.desk.service
    first = [chosen] if service.status(chosen).ready else []
    return [*first, *(card for card in service.ready_models() if card.id != chosen.id)][:MAX_MODELS]


def _ends(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Return the least and the most compressed model, or the only one."""
    ordered = sorted(cards, key=lambda card: card.cost.macs)
    return [ordered[-1], ordered[0]] if len(ordered) > 1 else ordered


def _keys(items: Items, cards: Sequence[ModelCard], count: int) -> list[tuple[str, str]]:
    """Return two keys for each of the first photos: one for the photo, one for it and the models of its evidence."""
    models = "".join(card.id for card in _ends(cards))
    return [(short_hash(path), short_hash(path + models)) for path, _ in (items or [])[:count]]


def _evidence_value(key: str, html: str, *, kept: bool) -> str:
    """Return evidence with its key, as JSON; ``kept`` tells the page that it need not ask for it again."""
    return json.dumps({"key": key, "html": html, "kept": kept, "time": time.time_ns()})


def _left_out(page: Page, chosen: ModelCard, dropped: int) -> str:
    """Say which photos and models have no answers."""
    service = page.desk.service
    limit = service.settings.max_photos
    said = ""
    if dropped > limit:
        said = message(
            f"You dropped {dropped} photos; only the first {limit} were classified. Drop the rest separately."
        )
    ready = len(service.ready_models())
    if ready > MAX_MODELS:
        said += message(f"{ready} models are ready; {MAX_MODELS} answer here, the chosen one among them.")
    where = service.status(chosen).where
    title = chosen.title
    if where == "to download":
        said += message(f"The weights of {title} are not here yet: download them above.")
    elif where == "missing":
        said += message(f"The weights of {title} are no longer on this machine: choose another model above.")
    return said
