"""The folder of a run's uploads, beside those of other runs and of other programs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from filelock import FileLock

from lowrank_demo.serve import upload_folder as module
from lowrank_demo.serve.upload_folder import upload_folder


def test_it_is_private_and_goes_in_the_end(tmp_path: Path) -> None:
    with upload_folder(tmp_path / "new") as folder:
        (folder / "photo.jpg").touch()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_only_what_a_killed_run_left_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("lowrank-uploads-left", "lowrank-uploads-used", "lowrank-uploads-other", "other")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.jpg").touch()
    for name in names[:2]:
        (tmp_path / name / ".in-use").touch()
    target = tmp_path / "target"
    target.mkdir()
    (target / ".in-use").touch()
    (tmp_path / "lowrank-uploads-link").symlink_to(target)
    with FileLock(tmp_path / "lowrank-uploads-used" / ".in-use"):
        with upload_folder(tmp_path):
            assert (tmp_path / "lowrank-uploads-left").exists(), "it may be a run that starts now"
        now = time.time()
        monkeypatch.setattr(module.time, "time", lambda: now + 61)
        with upload_folder(tmp_path) as folder:
            kept = {path.name for path in tmp_path.iterdir()} - {folder.name}
    assert kept == {*names[1:], "target", "lowrank-uploads-link"}
    assert [path.name for path in target.iterdir()] == [".in-use"]
