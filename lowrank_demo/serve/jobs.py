"""Long work that outlives the page that started it: one job at a time, the others wait and know their place.

Ids cannot be guessed, so that a visitor sees, cancels and downloads only their own job.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import Busy, LowRankError, UnknownJob
from ..runtime.progress import Progress
from ..validate.report import ModelResult, Report

State = Literal["waiting", "running", "done", "cancelled", "failed"]
MOST_WAITING = 8
_KEPT = 50
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class JobStatus:
    """A job at one moment."""

    state: State
    title: str
    place: int = 0
    """How many jobs come before this one."""
    doing: str = ""
    """What is being done before the pass itself, such as a download."""
    progress: Progress | None = None
    results: tuple[ModelResult, ...] = ()
    """Errors so far."""
    report: Report | None = None
    """When done; when cancelled, of the part that was done."""
    error: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "cancelled", "failed")


@dataclass
class Job:
    """What the work sees of its own job."""

    _set: Callable[[JobStatus], None]
    status: JobStatus
    _cancelled: threading.Event = field(default_factory=threading.Event)
    ended: float | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the work should stop."""
        return self._cancelled.is_set()

    def doing(self, text: str) -> None:
        """Say what is being done before the pass."""
        self._set(replace(self.status, doing=text))

    def show(self, progress: Progress, results: tuple[ModelResult, ...]) -> None:
        """Say how far the pass is."""
        self._set(replace(self.status, doing="", progress=progress, results=results))


Work = Callable[[Job], Report]
"""Does the work, looking at ``job.cancelled``, and returns the report of what was done."""


class JobRegistry:
    """Runs jobs in one thread of its own, in the order they came. Safe for use by several threads."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[tuple[str, Work]] = deque()
        self._running: str | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, title: str, work: Work) -> str:
        """Add a job; returns its id.

        Raises:
            Busy: Too many are waiting.
        """
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                raise Busy(f"{MOST_WAITING} validations are waiting already; try again in a few minutes.")
            self._forget_old()
            job_id = secrets.token_urlsafe(16)
            job = Job(lambda status: self._update(job_id, status), JobStatus("waiting", title))
            self._jobs[job_id] = job
            self._waiting.append((job_id, work))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="jobs")
                self._thread.start()
            self._changed.notify_all()
            return job_id

    def status(self, job_id: str) -> JobStatus:
        """A job at this moment.

        Raises:
            UnknownJob: There is none with this id, or it ended too long ago.
        """
        with self._changed:
            status = self._get(job_id).status
            if status.state != "waiting":
                return status
            before = [waiting for waiting, _ in self._waiting].index(job_id)
            return replace(status, place=before + (self._running is not None))

    def cancel(self, job_id: str) -> None:
        """Stop a job soon; one that waits never starts.

        Raises:
            UnknownJob: There is none with this id.
        """
        with self._changed:
            job = self._get(job_id)
            job._cancelled.set()
            if job.status.state == "waiting":
                self._waiting = deque(item for item in self._waiting if item[0] != job_id)
                job.status = replace(job.status, state="cancelled")
                job.ended = time.monotonic()

    def _get(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise UnknownJob("There is no validation with this id, or it ended long ago; start a new one.")
        return job

    def _update(self, job_id: str, status: JobStatus) -> None:
        with self._changed:
            self._jobs[job_id].status = status

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job_id, work = self._waiting.popleft()
                self._running = job_id
                job = self._jobs[job_id]
                job.status = replace(job.status, state="running")
            try:
                report = work(job)
                ended = replace(job.status, state="done" if report.complete else "cancelled", report=report)
            except LowRankError as error:
                cancelled = job.cancelled
                ended = replace(job.status, state="cancelled" if cancelled else "failed", error=str(error))
            except Exception:
                ended = replace(job.status, state="failed", error="The validation failed unexpectedly; start it again.")
                logging.getLogger(__name__).exception("a validation failed")
            with self._changed:
                job.status = replace(ended, doing="")
                job.ended = time.monotonic()
                self._running = None

    def _forget_old(self) -> None:
        ended = [(job_id, job.ended) for job_id, job in self._jobs.items() if job.ended is not None]
        for i, (job_id, at) in enumerate(ended):
            if len(ended) - i > _KEPT or time.monotonic() - at > _KEPT_SECONDS:
                del self._jobs[job_id]
