"""The model picker: scheme, then λ version. The value of its version radio is the chosen model's id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from ..models.architecture import SCHEMES
from ..models.cards import ModelCard, scheme_title
from ..serve.service import ModelStatus
from .present import card_label, model_note, summary_bar


@dataclass(frozen=True)
class Picker:
    """The picker's components."""

    scheme: gr.Radio
    drawing: gr.HTML
    version: gr.Radio
    note: gr.Markdown

    def choose(self, card: ModelCard) -> dict[gr.Radio, object]:
        """Updates of scheme and version that choose this card."""
        return {
            self.scheme: card.scheme,
            self.version: gr.Radio(value=card.id, elem_classes=_only(card.scheme)),
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
    version = gr.Radio(
        _choices(models()),
        value=default.id,
        label="λ version",
        info="A larger λ keeps fewer ranks: fewer FLOPs, more error on ImageNet. ↓ is downloaded at its first use.",
        elem_id="lr-version",
        elem_classes=_only(default.scheme),
    )
    note = gr.Markdown(model_note(default), elem_id="lr-note")

    def on_scheme(name: str, chosen: str) -> gr.Radio:
        every = [status.card for status in models()]
        cards = [card for card in every if card.scheme == name]
        old = next((card for card in every if card.id == chosen), cards[0])
        same = [card for card in cards if card.version == old.version and card.family == old.family]
        return gr.Radio(value=(same or cards)[0].id, elem_classes=_only(name))

    scheme.input(on_scheme, [scheme, version], version, api_visibility="private", show_progress="hidden")
    scheme.change(
        lambda name: _drawing(assets, name), scheme, drawing, api_visibility="private", show_progress="hidden"
    )
    return Picker(scheme, drawing, version, note)


def status_of(models: Callable[[], list[ModelStatus]], model_id: str) -> tuple[str, str]:
    """The summary line and the note of one model."""
    status = next(status for status in models() if status.card.id == model_id)
    return summary_bar(status), model_note(status.card)


def refreshed(statuses: Sequence[ModelStatus]) -> gr.Radio:
    """The version cards with the present state of the weights."""
    return gr.Radio(choices=_choices(statuses))


def _choices(statuses: Sequence[ModelStatus]) -> list[tuple[str, str]]:
    """Every model, of either scheme: the style sheet shows one scheme's.

    Gradio refuses a value that is no longer among the choices, and a request that was on its way when they changed
    would bring one; so the values never change.
    """
    return [(card_label(status), status.card.id) for status in statuses]


def _only(scheme: str) -> list[str]:
    """The class by which the style sheet shows one scheme's versions."""
    return [f"lr-only-{scheme}"]


def _drawing(assets: Path, scheme: str) -> str:
    svg = (assets / f"{scheme}.svg").read_text(encoding="utf-8")
    return f'<div class="lr-drawing">{svg}</div>'
