"""What the tabs share: the service behind them, and the components that more than one of them uses."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.media import get_image

from ..charts.story import LAMBDA, MU
from ..data.walk import EXTENSIONS
from ..errors import LowRankError, UnknownJob
from ..models.cards import ModelCard
from ..serve.answers import Photo
from ..serve.inspection import Inspection
from ..serve.paths import Paths
from ..serve.service import Service
from ..serve.uploads import LabelledFiles
from ..serve.validations import Validations
from .present_stage import chosen_value

FIRST_PHOTO = Path(get_image("lion.jpg"))
"""The photo that visitors see first, from the gradio package."""
POLL_SECONDS = 0.7
LOG_LAMBDA, LOG_MU = math.log10(LAMBDA), math.log10(MU)
"""Where the sliders start."""
LOG_LAMBDAS, LOG_MUS, LOG_STEP = (-6.0, -3.0), (-3.0, 1.0), 0.05

# Browsers give some photos no type (Chromium gives none to IMG_0001.HEIC), so their extensions are listed too. Browsers
# ignore "file". On the server it leaves the judgement to the decoder, which refuses a single file; Gradio would refuse
# every file that came with it.
_FILE_TYPES = ["image", *sorted(EXTENSIONS), "file"]

Items = list[tuple[str, str | None]] | None
"""A gallery's value: paths and captions."""


@dataclass(frozen=True)
class Desk:
    """The objects behind the page."""

    service: Service
    paths: Paths
    inspection: Inspection
    files: LabelledFiles
    validations: Validations


@dataclass(frozen=True)
class Page:
    """The components that more than one tab uses. The tab that shows a component renders it."""

    desk: Desk
    stage: gr.HTML
    """The first view."""
    chosen: gr.Textbox
    """Id of the model that the first view shows, which everything else follows; hidden."""
    tabs: gr.Tabs
    opened: gr.Textbox
    """Carries the id of the visible tab with each request; hidden, and empty between requests."""
    photos: gr.Gallery
    """The visitor's photos."""
    shown: gr.State
    """Path of the photo that the first view shows; empty for its first example."""
    layer: gr.State
    """Number of the layer that was clicked in the first view; None before the first click."""
    ready: gr.State
    """Changes when weights have been downloaded."""
    other: gr.Dropdown
    """The model drawn beside the chosen one: an id, or empty."""
    log_lambda: gr.Slider
    log_mu: gr.Slider
    job: gr.BrowserState
    """Id of the visitor's validation, kept by the browser."""
    timer: gr.Timer
    """Ticks while a validation runs."""
    finished: gr.State
    """Ids of the visitor's validations that have ended, the latest last."""
    loaded: Callable[..., Any]
    """The event of a visitor opening the page."""

    def card(self, model_id: str) -> ModelCard:
        """Return the card that a component's value names.

        Raises:
            UnknownModel: There is no such model.
        """
        return self.desk.service.zoo.get(model_id)

    def choose(self, card: ModelCard) -> dict[Any, Any]:
        """Return the updates that choose a model."""
        return {self.stage: gr.HTML(chosen=chosen_value(self.desk.service.zoo, card)), self.chosen: card.id}

    def when_open(
        self,
        tab: gr.Tab,
        changes: Sequence[Callable[..., Any]],
        answer: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        **options: Any,
    ) -> None:
        """Answer when a tab is opened, and when something changes while it is open.

        What nobody sees is not computed, and no figure is drawn into a box without a size.

        Args:
            tab: The tab.
            changes: Events that call for a new answer.
            answer: Takes the inputs' values and returns the outputs'.
            inputs: Components whose values ``answer`` takes.
            outputs: Components that it updates.
            options: Options of both listeners.
        """

        def if_open(opened: str, *values: Any) -> Any:
            if opened == tab.id:
                return answer(*values)
            return gr.skip() if len(outputs) == 1 else tuple(gr.skip() for _ in outputs)

        # Both share one queue: the answer to a change must not come before the answer to the opening that preceded it.
        options = {"concurrency_id": f"{tab.id}-{answer.__name__}", **options}
        tab.select(answer, list(inputs), list(outputs), **options)
        # The browser says which tab is visible at that moment.
        seen = (
            f"(_, ...values) => [document.getElementById('lr-tab-{tab.id}')?.offsetParent ? '{tab.id}' : '', ...values]"
        )
        gr.on(list(changes), if_open, [self.opened, *inputs], list(outputs), js=seen, **options)

    def busy(self, job_id: str) -> bool:
        """Return whether the visitor's validation has not ended."""
        try:
            return not self.desk.validations.status(job_id).finished
        except UnknownJob:
            return False

    def start_validation(self, file: str | None, model_ids: list[str]) -> str:
        """Start a validation and return its id.

        Raises:
            LowRankError: It cannot be started; the message says why.
        """
        return self.desk.validations.start(file or "", [self.card(model_id) for model_id in model_ids])


def short_hash(text: str) -> str:
    """Return 16 hex digits that stand for a text, such as a photo's path, which visitors need not know."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def photos_of(items: Items) -> list[Photo]:
    """Return the photos in a gallery's value."""
    return [Photo.from_file(Path(path)) for path, _ in items or []]


def create(desk: Desk, demo: gr.Blocks, stage: gr.HTML, model: str) -> Page:
    """Create the shared components. Only those that must be at the top level are rendered here.

    Gradio mounts a tab's components when the tab is opened, but a validation must be found again before that.

    Args:
        desk: The objects behind the page.
        demo: The page as a whole.
        stage: The first view, not rendered.
        model: Id of the model that it shows first.
    """
    service = desk.service
    return Page(
        desk=desk,
        stage=stage,
        chosen=gr.Textbox(model, visible="hidden", elem_id="lr-chosen"),
        tabs=gr.Tabs(elem_id="lr-tabs", render=False),
        opened=gr.Textbox("", visible="hidden", elem_id="lr-opened"),
        photos=gr.Gallery(
            label="Your photos",
            type="filepath",
            interactive=True,
            file_types=_FILE_TYPES,
            columns=8,
            rows=1,
            height=150,
            allow_preview=False,
            object_fit="cover",
            elem_id="lr-photos",
            render=False,
        ),
        shown=gr.State(""),
        layer=gr.State(None),
        ready=gr.State(0),
        other=gr.Dropdown(
            [("no other model", ""), *((card.title, card.id) for card in service.zoo)],
            value="",
            label="Compare with",
            info="A second model is drawn beside the chosen one.",
            elem_id="lr-compare",
            render=False,
        ),
        log_lambda=_slider(
            "λ",
            "lr-lambda",
            LOG_LAMBDAS,
            LOG_LAMBDA,
            "Price per unit of cost; right: lower ranks. −4.6 is λ = 0.25e-4.",
        ),
        log_mu=_slider("μ", "lr-mu", LOG_MUS, LOG_MU, "Weight of the lost energy; right: higher ranks."),
        job=gr.BrowserState("", storage_key="lowrank-validation"),
        timer=gr.Timer(POLL_SECONDS, active=False),
        finished=gr.State([]),
        loaded=demo.load,
    )


def _slider(name: str, elem_id: str, bounds: tuple[float, float], value: float, info: str) -> gr.Slider:
    """Create a slider for the base-10 logarithm of a number, not rendered."""
    return gr.Slider(
        *bounds, value=value, step=LOG_STEP, label=f"log₁₀ {name}", info=info, elem_id=elem_id, render=False
    )


def warn(sentence: LowRankError | str) -> None:
    """Show a sentence as a warning on the page. It is escaped, because the page would render markup in it."""
    gr.Warning(escape(str(sentence), quote=False))
