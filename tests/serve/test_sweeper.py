"""What visitors left is deleted by age, whoever left it; what the page needs stays."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from lowrank_demo.serve import sweeper
from lowrank_demo.serve.sweeper import delete_older, sweep_regularly


def test_old_files_and_empty_folders(tmp_path: Path) -> None:
    for name in ("a/old.jpg", "b/c/old.jpg", "tmp-of-a-broken-upload", "empty/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty" / "x").unlink()
    for name in ("empty", "b"):
        os.utime(tmp_path / name, (1, 1))
    delete_older(tmp_path, 3600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "tmp-of-a-broken-upload"]
    time.sleep(0.05)
    delete_older(tmp_path, 0.01, since=time.time())
    assert (tmp_path / "a" / "old.jpg").exists(), "older than what may be deleted"
    delete_older(tmp_path, 0.01)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    for _ in range(2):
        delete_older(tmp_path, 0.01)
        for path in tmp_path.rglob("*"):
            os.utime(path, (1, 1))
    assert list(tmp_path.iterdir()) == []
    delete_older(tmp_path / "nowhere", 1)


def test_one_thread_for_all_and_a_failure_ends_nothing() -> None:
    before, done = set(threading.enumerate()), threading.Event()

    def fails() -> None:
        raise OSError

    ended = sweep_regularly(0.01, fails, done.set)
    try:
        assert done.wait(5)
        done.clear()
        assert done.wait(5)
        (thread,) = set(threading.enumerate()) - before
    finally:
        ended.set()
    thread.join(5)
    assert not thread.is_alive()
    assert sweeper.UPLOADS_KEPT_SECONDS == 5400
