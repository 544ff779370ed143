"""A lock on a name among processes: held by one, released by a kill, and never given to two."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lowrank_demo.runtime.name_lock import name_lock
from tests.helpers.paths import ROOT

fcntl = pytest.importorskip("fcntl")

HOLD = """
import sys, time
from pathlib import Path
from lowrank_demo.runtime.name_lock import name_lock
with name_lock(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_one_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "True\n"
        with name_lock(path) as held:
            assert not held
        assert path.exists()
        other.send_signal(signal.SIGKILL)
    with name_lock(path) as held:
        assert held
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_deleted_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    first = contextlib.ExitStack()
    first.enter_context(name_lock(path))
    flock, tries = fcntl.flock, []

    def after_the_first_has_ended(descriptor: int, how: int) -> None:
        tries.append(os.fstat(descriptor).st_ino)
        first.close()  # once it is open, and before it is locked
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", after_the_first_has_ended)
    with name_lock(path) as second, name_lock(path) as third:
        assert second
        assert not third, "both would write one file"
    assert len(tries) == 3, "the second tried twice"


def test_an_error_releases_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError), name_lock(path):
        raise RuntimeError
    with name_lock(path) as held:
        assert held


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks(reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, how: int) -> None:
        raise OSError(reason, "no locks here")

    monkeypatch.setattr(fcntl, "flock", fail)
    with name_lock(tmp_path / "lock") as held:
        assert held
    assert list(tmp_path.iterdir()) == []
