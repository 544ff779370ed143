"""The model picker: scheme, then λ version. The value of its version radio is the chosen model's id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from ..architecture import SCHEMES
from ..charts import scheme_title
from ..service import ModelStatus
from ..zoo import ModelCard
from .present import card_label, model_note, summary_bar

from gradio.events import Dependency

class ModelRadio(gr.Radio):
    """A radio whose choices change with the scheme.

    Gradio refuses a value that is no longer among the choices, and a request that was on its way when they changed
    brings one. Ids are looked up in the zoo anyway, so every value passes.
    """

    is_template = True  # the browser shows a plain radio

    def preprocess(self, payload: str | int | float | None) -> str | int | float | None:
        """The value as it came."""
        return payload
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

@dataclass(frozen=True)
class Picker:
    """The picker's components."""

    scheme: gr.Radio
    drawing: gr.HTML
    version: gr.Radio
    note: gr.Markdown

    def choose(self, card: ModelCard, statuses: Sequence[ModelStatus]) -> dict[gr.Radio, object]:
        """Updates of scheme and version that choose this card."""
        return {
            self.scheme: card.scheme,
            self.version: gr.Radio(choices=_choices(statuses, card.scheme), value=card.id),
        }

def build(assets: Path, models: Callable[[], list[ModelStatus]], default: ModelCard) -> Picker:
    """Build the picker and its own behaviour.

    Args:
        assets: Folder of the schemes' drawings.
        models: Every card with where its weights are now.
        default: The card chosen at first.
    """
    scheme = gr.Radio(
        [(scheme_title(name), name) for name in SCHEMES],
        value=default.scheme,
        label="Scheme",
        info="How a convolution is split in two; r is the learned rank.",
        elem_id="lr-scheme",
    )
    drawing = gr.HTML(_drawing(assets, default.scheme), elem_id="lr-drawing")
    version = ModelRadio(
        _choices(models(), default.scheme),
        value=default.id,
        label="λ version",
        info="A larger λ keeps fewer ranks: fewer FLOPs, more error. Errors are ImageNet top-1 / top-5.",
        elem_id="lr-version",
    )
    note = gr.Markdown(model_note(default), elem_id="lr-note")

    def on_scheme(name: str, chosen: str) -> gr.Radio:
        statuses = models()
        cards = [status.card for status in statuses if status.card.scheme == name]
        old = next((status.card for status in statuses if status.card.id == chosen), cards[0])
        same = [card for card in cards if card.version == old.version and card.family == old.family]
        return gr.Radio(choices=_choices(statuses, name), value=(same or cards)[0].id)

    scheme.input(on_scheme, [scheme, version], version, api_visibility="private", show_progress="hidden")
    scheme.change(
        lambda name: _drawing(assets, name), scheme, drawing, api_visibility="private", show_progress="hidden"
    )
    return Picker(scheme, drawing, version, note)

def status_of(models: Callable[[], list[ModelStatus]], model_id: str) -> tuple[str, str]:
    """The summary line and the note of one model."""
    status = next(status for status in models() if status.card.id == model_id)
    return summary_bar(status), model_note(status.card)

def refreshed(statuses: Sequence[ModelStatus], scheme: str) -> gr.Radio:
    """The version cards with the present state of the weights."""
    return gr.Radio(choices=_choices(statuses, scheme))

def _choices(statuses: Sequence[ModelStatus], scheme: str) -> list[tuple[str, str]]:
    return [(card_label(status), status.card.id) for status in statuses if status.card.scheme == scheme]

def _drawing(assets: Path, scheme: str) -> str:
    svg = (assets / f"{scheme}.svg").read_text(encoding="utf-8")
    return f'<div class="lr-drawing">{svg}</div>'
