"""The job registry: one at a time, places, cancelling, failures; ids that are nobody else's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from lowrank_demo.errors import Busy, DataError, UnknownJob
from lowrank_demo.runtime.progress import Progress
from lowrank_demo.serve.jobs import MOST_WAITING, Job, JobRegistry, JobStatus
from lowrank_demo.validate.report import Report
from tests.helpers.examples import CONDITIONS

REPORT = Report("file", 10, 10, (), (), 1.0, True, {}, {}, {}, CONDITIONS)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_one_at_a_time_in_order() -> None:
    registry, go = JobRegistry(), threading.Event()
    running: list[int] = []

    def work(number: int) -> Callable[[Job], Report]:
        def run(job: Job) -> Report:
            running.append(number)
            job.show(Progress(5, 10, 1.0), ())
            assert go.wait(5)
            return REPORT

        return run

    ids = [registry.submit(f"job {n}", work(n)) for n in range(3)]
    until(lambda: registry.status(ids[0]).progress is not None)
    assert [registry.status(i).state for i in ids] == ["running", "waiting", "waiting"]
    assert [registry.status(i).place for i in ids] == [0, 1, 2]
    assert running == [0]
    registry.cancel(ids[1])
    assert registry.status(ids[1]).state == "cancelled"
    assert registry.status(ids[2]).place == 1
    go.set()
    until(lambda: registry.status(ids[2]).finished)
    assert running == [0, 2]
    assert registry.status(ids[0]).state == "done"
    assert registry.status(ids[0]).report is REPORT


def test_too_many() -> None:
    registry, go = JobRegistry(), threading.Event()

    def run(job: Job) -> Report:
        assert go.wait(5)
        return REPORT

    first = registry.submit("first", run)
    until(lambda: registry.status(first).state == "running")
    for _ in range(MOST_WAITING):
        registry.submit("next", run)
    with pytest.raises(Busy, match="try again"):
        registry.submit("one more", run)
    go.set()


def test_failures_leave_the_registry_working() -> None:
    registry = JobRegistry()

    def bad(job: Job) -> Report:
        raise DataError("The file is damaged.")

    def crash(job: Job) -> Report:
        raise ZeroDivisionError("/secret/path")

    a, b, c = (registry.submit("x", work) for work in (bad, crash, lambda job: REPORT))
    until(lambda: registry.status(c).finished)

    def ended(job_id: str) -> JobStatus:
        return registry.status(job_id)

    assert (ended(a).state, ended(a).error) == ("failed", "The file is damaged.")
    assert ended(b).state == "failed"
    assert "secret" not in ended(b).error
    assert ended(c).state == "done"


def test_unknown_ids() -> None:
    registry = JobRegistry()
    for call in (registry.status, registry.cancel):
        with pytest.raises(UnknownJob):
            call("guess")
    ids = {registry.submit("x", lambda job: REPORT) for _ in range(5)}
    assert len(ids) == 5
    assert min(map(len, ids)) >= 20
