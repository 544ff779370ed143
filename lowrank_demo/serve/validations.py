"""Validations that outlive the page that started them: one at a time, in the order they came.

Ids cannot be guessed, so visitors can see, cancel and download only their own validations.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import Busy, LowRankError, UnknownJob, UsageError
from ..models.cards import ModelCard
from ..runtime.progress import Progress
from ..validate.report import ModelResult, Report
from .places import check_models
from .service import Service
from .uploads import LabelledFiles

State = Literal["waiting", "running", "done", "cancelled", "failed"]
MAX_WAITING = 8
_BATCH = 32
KEPT_SECONDS = 2 * 3600
"""How long a report is kept: as long as a set of uploaded photos."""
CANCELLED_KEPT_SECONDS = 600
"""How long the report of a cancelled validation is kept: one visitor could start and cancel enough to fill the room."""
_REPORTS, _REPORT_BYTES = 1000, 200_000_000
"""Limits on the reports kept at a time, and on their memory. None makes room for another: it belongs to its visitor."""
_ENTRY_BYTES = 130
"""Memory of one count of a report, such as that of two classes that are confused."""
_WITHOUT_REPORT = 500
"""Ended validations without a report that are kept at a time, to say how they ended."""


@dataclass(frozen=True)
class ValidationStatus:
    """A validation at one moment."""

    state: State
    title: str
    """The labelled file, as people see it."""
    place: int = 0
    """How many validations come before this one."""
    doing: str = ""
    """What happens before the pass itself, such as a download."""
    progress: Progress | None = None
    results: tuple[ModelResult, ...] = ()
    """Errors so far."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Ids of models that could not be loaded, and why; the others are measured."""
    report: Report | None = None
    """The report, once there is one; for a cancelled validation, it covers the part that was measured."""
    error: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "cancelled", "failed")


@dataclass(eq=False)
class _Job:
    file: Path
    cards: tuple[ModelCard, ...]
    status: ValidationStatus
    cancelled: bool = False
    ended_at: float | None = None
    report_bytes: int = 0
    """Approximate memory of its report; 0 if there is none, or it measured no image."""

    @property
    def kept_seconds(self) -> float:
        """How long it is kept once it has ended."""
        return CANCELLED_KEPT_SECONDS if self.status.state == "cancelled" else KEPT_SECONDS


class Validations:
    """Runs validations in one thread. Safe for use by several threads.

    Args:
        service: Has the models.
        files: The labelled files on offer.
    """

    def __init__(self, service: Service, files: LabelledFiles) -> None:
        self._service = service
        self._files = files
        # In the order they came.
        self._jobs: dict[str, _Job] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False
        self._run = secrets.token_hex(4)

    def start(self, file: str, cards: Iterable[ModelCard]) -> str:
        """Start a validation or put it in the queue, and return its id.

        Args:
            file: The name of a labelled file, or an upload's token.
            cards: The models; each is measured once.

        Raises:
            UsageError: The file is not on offer, no model is named, or too many are.
            Busy: Too many validations are waiting, or too many reports are kept.
        """
        path, title = self._files.find(file)
        chosen = tuple(dict.fromkeys(cards))
        if not chosen:
            raise UsageError("No model was chosen; expected at least one.")
        check_models(len(chosen))
        with self._changed:
            if len(self._waiting()) >= MAX_WAITING:
                raise Busy(f"{MAX_WAITING} validations are waiting already; try again in a few minutes.")
            self._forget_old()
            self._check_room()
            job_id = self._run + secrets.token_urlsafe(16)
            self._jobs[job_id] = _Job(path, chosen, ValidationStatus("waiting", title))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="validations")
                self._thread.start()
            self._changed.notify_all()
            return job_id

    def status(self, job_id: str) -> ValidationStatus:
        """Return a validation's present state.

        Raises:
            UnknownJob: There is none with this id, or it ended too long ago.
        """
        with self._changed:
            job = self._get(job_id)
            if job.status.state != "waiting":
                return job.status
            running = any(other.status.state == "running" for other in self._jobs.values())
            return replace(job.status, place=self._waiting().index(job) + running)

    def gave_out(self, job_id: str) -> bool:
        """Return whether this process, not one before it, gave out an id, even if its validation is forgotten."""
        return job_id.startswith(self._run)

    def cancel(self, job_id: str) -> None:
        """Stop a validation after its present batch; one that waits never starts.

        Raises:
            UnknownJob: There is none with this id, or it ended too long ago.
        """
        with self._changed:
            job = self._get(job_id)
            job.cancelled = True
            if job.status.state == "waiting":
                self._end(job, state="cancelled")

    def end(self) -> None:
        """Stop all validations, and wait for the one that runs."""
        with self._changed:
            self._ended = True
            for job in self._jobs.values():
                job.cancelled = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def reports(self, job_ids: Iterable[str]) -> list[Report]:
        """Return the reports of those validations that have ended, are still known, and measured an image."""
        with self._changed:
            known = [self._jobs[job_id].status.report for job_id in job_ids if job_id in self._jobs]
        return [report for report in known if report and report.count]

    def _waiting(self) -> Sequence[_Job]:
        return [job for job in self._jobs.values() if job.status.state == "waiting"]

    def _get(self, job_id: str) -> _Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise UnknownJob(
                f"There is no validation with this id, or it ended more than {KEPT_SECONDS // 3600} hours ago, or was "
                f"cancelled more than {CANCELLED_KEPT_SECONDS // 60} minutes ago; start a new one."
            )
        return job

    def _update(self, job: _Job, **changes: Any) -> None:
        with self._changed:
            job.status = replace(job.status, **changes)

    def _end(self, job: _Job, **changes: Any) -> None:
        with self._changed:
            job.status = replace(job.status, doing="", **changes)
            job.ended_at = time.monotonic()
            job.report_bytes = _size(job.status.report)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (waiting := self._waiting()) and not self._ended:
                    self._changed.wait()
                if self._ended:
                    return
                job = waiting[0]
                self._update(job, state="running")
            try:
                report = self._measure(job)
                self._end(job, state="done" if report.complete else "cancelled", report=report)
            except LowRankError as error:
                self._end(job, state="cancelled" if job.cancelled else "failed", error=str(error))
            except Exception:
                self._end(job, state="failed", error="The validation failed unexpectedly; start it again.")
                logging.getLogger(__name__).exception("a validation failed")

    def _measure(self, job: _Job) -> Report:
        def show(doing: str) -> None:
            if job.cancelled:
                raise LowRankError("The validation was cancelled.")
            self._update(job, doing=doing)

        with self._service.open_validation(
            job.file,
            job.cards,
            batch_size=_BATCH,
            on_progress=lambda download: show(download.text),
            on_model=lambda card: show(f"loading {card.title}"),
            leave_out=True,
        ) as run:
            self._update(job, left_out=run.left_out)
            for progress in run:
                self._update(job, doing="", progress=progress, results=run.results())
                if job.cancelled:
                    break
            return run.report()

    def _forget_old(self) -> None:
        ended = {job_id: job for job_id, job in self._jobs.items() if job.ended_at is not None}
        now = time.monotonic()
        old = [job_id for job_id, job in ended.items() if (job.ended_at or 0.0) + job.kept_seconds < now]
        empty = [job_id for job_id, job in ended.items() if not job.report_bytes]
        for job_id in {*old, *empty[:-_WITHOUT_REPORT]}:
            del self._jobs[job_id]

    def _check_room(self) -> None:
        kept = [job.report_bytes for job in self._jobs.values() if job.report_bytes]
        if len(kept) >= _REPORTS or sum(kept) >= _REPORT_BYTES:
            raise Busy("The server has no room for more reports now; try again in an hour.")


def _size(report: Report | None) -> int:
    if report is None or not report.count:
        return 0
    rights = [len(top) for both in report.class_right.values() for top in both]
    entries = sum(rights) + sum(map(len, report.confused.values())) + len(report.class_count) + len(report.unreadable)
    return _ENTRY_BYTES * (1 + entries)
