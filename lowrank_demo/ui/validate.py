"""The *Validate* tab: measure models on a labelled file, with live progress that survives leaving the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..data.walk import listed
from ..errors import LowRankError, UnknownJob
from ..runtime.words import counted
from ..serve.answers import ModelStatus
from ..serve.places import BUILDERS, MAX_MODELS
from ..serve.uploads import SAMPLE, Upload
from .events import QUIET
from .page import Page, warn
from .present import message
from .present_job import job_view

_REMEMBERED = 20
_SHOWN_SECONDS = 0.5
_WELCOME = message(
    "Choose a file and models, then press Start. Errors appear here as they are measured, beside the published ones.",
    "lr-welcome",
)
_OWN = "A file on this server."
_NO_SET = "This server has only three sample photos: we found no labelled set that we may redistribute."
_RESTARTED = "The server was restarted; the validation was lost. Start it again."
_ZIP = "Put the photos of each class in a folder that has the name or the number of the class: lion/1.jpg, 291/2.jpg."
_LISTED = 10
"""Largest number of refusals to list."""
_START, _UNPACKING = "Start", "Your zip is being unpacked"


def build(page: Page, tab: gr.Tab) -> None:
    """Build the tab."""
    desk, job, timer, finished = page.desk, page.job, page.timer, page.finished
    files, validations = desk.files, desk.validations
    names = files.names()
    own = [name for name in names if name != SAMPLE]
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            file = gr.Dropdown(
                names,
                value=names[0] if names else None,
                label="Labelled file",
                info=_OWN if own else _NO_SET,
                elem_id="lr-file",
                render=False,
            )
            upload = gr.File(
                label="Your own photos, as a zip",
                file_types=[".zip"],
                height=165,
                elem_id="lr-upload",
                render=False,
            )
            # A server without labelled files asks for the visitor's first.
            for one in (file, upload) if own else (upload, file):
                one.render()
                if one is upload:
                    gr.Markdown(_ZIP, elem_classes="lr-note")
            chosen = gr.Dropdown(
                [(_model_label(status), status.card.id) for status in desk.service.models()],
                value=[card.id for card in desk.service.ready_models()[:MAX_MODELS]],
                multiselect=True,
                max_choices=MAX_MODELS,
                label="Models",
                info="One pass measures them all; each photo is decoded once.",
                elem_id="lr-models",
            )
            with gr.Row():
                start = gr.Button(_START, variant="primary", elem_id="lr-start")
                cancel = gr.Button("Cancel", interactive=False, elem_id="lr-cancel")
        with gr.Column(scale=3, min_width=320, elem_id="lr-validation"):
            note = gr.HTML(_WELCOME, elem_id="lr-validation-note")
            view = gr.HTML("", elem_id="lr-validation-job")
    unpacking = gr.State(False)
    """Whether the visitor's zip is being made into a set."""
    shown = [note, view, start, cancel, timer, finished]

    def on_upload(path: str | None, job_id: str) -> Iterator[tuple[Any, ...]]:
        on_server = files.names()
        # Remove another set's report and its links from the page, but keep a validation that still runs.
        left = gr.skip() if page.busy(job_id) else ""
        if not path:
            choose = gr.Dropdown(choices=on_server, value=next(iter(on_server), None))
            yield choose, "" if page.busy(job_id) else _WELCOME, left, _start_button(not page.busy(job_id)), False
            return
        yield gr.skip(), message("The zip is being unpacked."), left, _start_button(False, _UNPACKING), True
        shown_at = 0.0
        try:
            for step in files.building(Path(path)):
                if isinstance(step, Upload):
                    choices = [(name, name) for name in on_server]
                    choices.append((f"your upload: {counted(step.count, 'photo')}", step.token))
                    choose = gr.Dropdown(choices=choices, value=step.token)
                    yield choose, message(_what_came(step)), gr.skip(), _start_button(not page.busy(job_id)), False
                elif step.total and time.monotonic() > shown_at + _SHOWN_SECONDS:
                    shown_at = time.monotonic()
                    checked = f"{step.done:,} of {counted(step.total, 'photo')} checked."
                    yield gr.skip(), message(checked), gr.skip(), gr.skip(), True
        except LowRankError as error:
            yield gr.skip(), message(str(error)), gr.skip(), _start_button(not page.busy(job_id)), False

    def on_start(name: str | None, model_ids: list[str], unpacks: bool) -> tuple[Any, ...]:
        if unpacks:
            return gr.skip(), message(f"{_UNPACKING}: start when its photos are ready."), *[gr.skip()] * 5
        try:
            job_id = page.start_validation(name, model_ids)
        except LowRankError as error:
            return gr.skip(), message(str(error)), *[gr.skip()] * 5
        return job_id, "", *_shown(page, job_id, [])

    def on_tick(job_id: str, ended: list[str], unpacks: bool, said: str) -> tuple[Any, ...]:
        try:
            view, start, *others = _shown(page, job_id, ended)
            return gr.skip(), "" if said == _WELCOME else gr.skip(), view, gr.skip() if unpacks else start, *others
        except UnknownJob as error:
            if not job_id:  # no validation was started yet
                return gr.skip(), *[gr.skip()] * 4, gr.Timer(active=False), gr.skip()
            text = str(error) if validations.gave_out(job_id) else _RESTARTED
            # Say this once: from here on the visitor has no validation.
            buttons = gr.skip() if unpacks else _start_button(True), gr.Button(interactive=False)
            return "", message(text), "", *buttons, gr.Timer(active=False), gr.skip()

    def on_cancel(job_id: str) -> None:
        try:
            validations.cancel(job_id)
        except UnknownJob as error:
            warn(error)

    # Each change is an event of its own: the last of several would wait for one that is cancelled.
    building = upload.change(
        on_upload,
        [upload, job],
        [file, note, view, start, unpacking],
        api_visibility="private",
        show_progress_on=note,
        trigger_mode="multiple",
        concurrency_limit=BUILDERS,
    )
    # Removing the zip, or leaving the page, ends the work on it.
    upload.clear(None, None, None, cancels=building, **QUIET)
    start.click(on_start, [file, chosen, unpacking], [job, *shown], **QUIET)
    timer.tick(on_tick, [job, finished, unpacking, note], [job, *shown], **QUIET)
    cancel.click(on_cancel, job, None, **QUIET)
    # A visitor who comes back finds the validation again.
    gr.on(page.loaded, on_tick, [job, finished, unpacking, note], [job, *shown], **QUIET)


def _what_came(upload: Upload) -> str:
    """Say how many photos a set has, and what was left out."""
    note = f"{counted(upload.count, 'photo')} {'is' if upload.count == 1 else 'are'} ready: press Start."
    if upload.refused:
        left_out = counted(sum(item.images for item in upload.refused), "photo")
        note += f" {left_out} left out:{listed(upload.refused, _LISTED)}"
    return note


def _start_button(ready: bool, text: str = _START) -> gr.Button:
    """Return the update of the button that starts a validation; its text says why it waits."""
    return gr.Button(text, interactive=ready)


def _shown(page: Page, job_id: str, ended: Sequence[str]) -> tuple[Any, ...]:
    """Return the updates of view, start, cancel, timer and finished.

    Raises:
        UnknownJob: There is no such validation.
    """
    status = page.desk.validations.status(job_id)
    over = status.finished
    return (
        job_view(status, job_id, page.desk.service.zoo),
        _start_button(over),
        gr.Button(interactive=not over),
        gr.Timer(active=not over),
        [*ended, job_id][-_REMEMBERED:] if over and job_id not in ended else gr.skip(),
    )


def _model_label(status: ModelStatus) -> str:
    size = f"{status.card.cost.fp32_bytes / 1e6:.0f} MB"
    state = {"to download": f" (to download, {size})", "missing": " (weights missing)"}.get(status.where, "")
    return f"{status.card.title}{state}"
