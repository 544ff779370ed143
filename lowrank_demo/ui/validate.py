"""The *Validate* tab: measure models on a labelled file, with live progress that survives leaving the page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import LowRankError, UnknownJob
from ..serve.service import ModelStatus
from ..serve.validations import ValidationDesk
from ..validate.report import Report
from .present import message
from .present_job import job_view

POLL_SECONDS = 0.7
_REMEMBERED = 20
_WELCOME = "Choose a file and models, then start: the errors appear here while they are measured, beside the published."
_YOURS = "your upload: {count} photos"


@dataclass(frozen=True)
class JobState:
    """What outlives the tab. Gradio mounts a tab's components when it is opened, and these must work before."""

    job: gr.BrowserState
    """Id of the visitor's validation, kept by their browser."""
    timer: gr.Timer
    """Ticks while a validation runs."""
    finished: gr.State
    """Ids of the visitor's validations that have ended, the latest last."""


def job_state() -> JobState:
    """Made at the top level of the page."""
    job = gr.BrowserState("", storage_key="lowrank-validation")
    return JobState(job, gr.Timer(POLL_SECONDS, active=False), gr.State([]))


def build(desk: ValidationDesk, models: Sequence[ModelStatus], state: JobState, page: gr.Blocks) -> None:
    """Build the tab.

    Args:
        desk: Runs the validations.
        models: The cards on offer, with where their weights are.
        state: From :func:`job_state`.
        page: The whole page, whose loading finds a validation again.
    """
    job, timer, finished = state.job, state.timer, state.finished
    names = desk.files()
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            file = gr.Dropdown(
                names,
                value=names[0] if names else None,
                label="Labelled file",
                info="One on this server, or below a zip of photos in class-named folders: lion/1.jpg, 291/2.jpg.",
                elem_id="lr-file",
            )
            upload = gr.File(
                label="Or your own, as a zip",
                file_types=[".zip"],
                height=165,
                elem_id="lr-upload",
            )
            chosen = gr.Dropdown(
                [(_model_label(status), status.card.id) for status in models],
                value=[status.card.id for status in models if status.where != "to download"],
                multiselect=True,
                label="Models",
                info="All are measured in one pass; each photo is decoded once.",
                elem_id="lr-models",
            )
            with gr.Row():
                start = gr.Button("Start", variant="primary", elem_id="lr-start")
                cancel = gr.Button("Cancel", interactive=False, elem_id="lr-cancel")
        with gr.Column(scale=3, min_width=320):
            view = gr.HTML(message(_WELCOME, "lr-welcome"), elem_id="lr-validation")
            with gr.Row():
                as_csv = gr.DownloadButton("Download CSV", visible=False, size="sm", elem_id="lr-csv")
                as_json = gr.DownloadButton("Download JSON", visible=False, size="sm", elem_id="lr-json")
                as_page = gr.DownloadButton("Download report", visible=False, size="sm", elem_id="lr-report")
    shown = [view, start, cancel, as_csv, as_json, as_page, timer, finished]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def on_upload(path: str | None) -> tuple[Any, str]:
        if not path:
            return gr.Dropdown(choices=desk.files(), value=next(iter(desk.files()), None)), message(
                _WELCOME, "lr-welcome"
            )
        try:
            built = desk.upload(Path(path))
        except LowRankError as error:
            return gr.skip(), message(str(error))
        note = f"{built.count} photos are ready: press Start."
        if built.refused:
            note += f" {len(built.refused)} could not be read and were left out: {built.refused[0].reason}"
        choices = [*((name, name) for name in desk.files()), (_YOURS.format(count=built.count), built.token)]
        return gr.Dropdown(choices=choices, value=built.token), message(note)

    def on_start(name: str | None, ids: list[str]) -> tuple[Any, ...]:
        try:
            job_id = desk.start(name or "", ids)
        except LowRankError as error:
            return gr.skip(), message(str(error)), *[gr.skip()] * (len(shown) - 1)
        return job_id, *_shown(desk, job_id, [])

    def on_tick(job_id: str, ended: list[str]) -> tuple[Any, ...]:
        try:
            return _shown(desk, job_id, ended)
        except UnknownJob:
            # No validation yet, or one of an earlier start of the server.
            return *[gr.skip()] * (len(shown) - 2), gr.Timer(active=False), gr.skip()

    def on_cancel(job_id: str) -> None:
        try:
            desk.cancel(job_id)
        except UnknownJob as error:
            gr.Warning(str(error))

    upload.change(on_upload, upload, [file, view], api_visibility="private", show_progress_on=view)
    start.click(on_start, [file, chosen], [job, *shown], **quiet)
    timer.tick(on_tick, [job, finished], shown, **quiet)
    cancel.click(on_cancel, job, None, **quiet)
    # A page that was left finds its validation again.
    gr.on(page.load, on_tick, [job, finished], shown, **quiet)


def reports_of(desk: ValidationDesk, job_ids: Sequence[str]) -> list[Report]:
    """The reports of validations that ended and are still known."""
    reports: list[Report] = []
    for job_id in job_ids:
        with suppress(UnknownJob):
            report = desk.status(job_id).report
            if report and report.count:
                reports.append(report)
    return reports


def _shown(desk: ValidationDesk, job_id: str, ended: Sequence[str]) -> tuple[Any, ...]:
    """View, start, cancel, CSV, JSON, report, timer, finished.

    Raises:
        UnknownJob: There is no such validation.
    """
    status = desk.status(job_id)
    over = status.finished
    files = desk.report_files(job_id)
    return (
        job_view(status),
        gr.Button(interactive=over),
        gr.Button(interactive=not over),
        *(gr.DownloadButton(value=str(file) if file else None, visible=file is not None) for file in files),
        gr.Timer(active=not over),
        [*ended, job_id][-_REMEMBERED:] if over and job_id not in ended else gr.skip(),
    )


def _model_label(status: ModelStatus) -> str:
    state = "" if status.where != "to download" else f" (to download, {status.card.cost.fp32_bytes / 1e6:.0f} MB)"
    return f"{status.card.id}{state}"
