"""The model picker: scheme, then λ version. The value of the version radio is the chosen model's id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..models.architecture import SCHEMES
from ..models.cards import ModelCard, scheme_title
from ..serve.answers import ModelStatus
from ..serve.service import Service
from ..settings import ASSETS
from .events import QUIET
from .present import card_label, model_note, summary_bar

if TYPE_CHECKING:
    from .page import Page


@dataclass(frozen=True)
class Picker:
    """The picker's components."""

    scheme: gr.Radio
    drawing: gr.HTML
    version: gr.Radio
    note: gr.Markdown
    summary: gr.HTML
    """The line that names the chosen model and stays in sight."""

    @classmethod
    def create(cls, service: Service) -> Picker:
        """Create the components, not rendered, with the service's default model chosen."""
        default = service.default_model()
        return cls(
            scheme=gr.Radio(
                [(scheme_title(name), name) for name in SCHEMES],
                value=default.scheme,
                label="Scheme",
                info="How a convolution is split in two; r is the learned rank.",
                elem_id="lr-scheme",
                render=False,
            ),
            drawing=gr.HTML(_drawing(default.scheme), elem_id="lr-drawing", render=False),
            version=gr.Radio(
                _choices(service.models()),
                value=default.id,
                label="λ version",
                info="A larger λ gives lower ranks: fewer FLOPs, higher error on ImageNet. ↓ is downloaded when it is "
                "first used.",
                elem_id="lr-version",
                elem_classes=_only(default.scheme),
                render=False,
            ),
            note=gr.Markdown(model_note(default), elem_id="lr-note", render=False),
            summary=gr.HTML(summary_bar(service.status(default)), elem_id="lr-summary", render=False),
        )

    def choose(self, card: ModelCard) -> dict[Any, Any]:
        """Return the updates of scheme and version that choose this card."""
        return {
            self.scheme: card.scheme,
            self.version: gr.Radio(value=card.id, elem_classes=_only(card.scheme)),
        }


def build(page: Page) -> None:
    """Render the picker, all but its summary, and connect it."""
    picker, service = page.picker, page.desk.service
    for component in (picker.scheme, picker.drawing, picker.version, picker.note):
        component.render()

    def on_scheme(scheme: str, chosen: str) -> gr.Radio:
        old = page.card(chosen)
        cards = service.zoo.of_scheme(scheme)
        family = [card for card in cards if card.family == old.family] or cards
        same = [card for card in family if card.version == old.version]
        return gr.Radio(value=(same or family)[-1].id, elem_classes=_only(scheme))

    def on_version(chosen: str) -> tuple[str, str]:
        card = page.card(chosen)
        return summary_bar(service.status(card)), model_note(card)

    def on_answer(chosen: str) -> tuple[str, gr.Radio]:
        # The first use of a model may have downloaded it.
        return summary_bar(service.status(page.card(chosen))), gr.Radio(choices=_choices(service.models()))

    picker.scheme.input(on_scheme, [picker.scheme, picker.version], picker.version, **QUIET)
    picker.scheme.change(_drawing, picker.scheme, picker.drawing, **QUIET)
    picker.version.change(on_version, picker.version, [picker.summary, picker.note], **QUIET)
    page.results.change(on_answer, picker.version, [picker.summary, picker.version], **QUIET)


def _choices(statuses: list[ModelStatus]) -> list[tuple[str, str]]:
    """Return every model of both schemes; the style sheet shows one scheme's.

    Gradio refuses a value that is no longer among the choices, and a request under way while they change would bring
    one. So the values never change.
    """
    return [(card_label(status), status.card.id) for status in statuses]


def _only(scheme: str) -> list[str]:
    """Return the class by which the style sheet shows one scheme's versions."""
    return [f"lr-only-{scheme}"]


def _drawing(scheme: str) -> str:
    svg = (ASSETS / f"{scheme}.svg").read_text(encoding="utf-8")
    return f'<div class="lr-drawing">{svg}</div>'
