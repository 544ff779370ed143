"""Files that appear whole or not at all, and names that no file system takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowrank_demo.errors import UsageError
from lowrank_demo.runtime.files import atomic_write, has_long_name, must_exist


def test_a_name_is_too_long_where_the_file_system_says_so(tmp_path: Path) -> None:
    for length in (254, 255, 256, 300):
        path = tmp_path / ("n" * length)
        try:
            path.touch()
            refused = False
        except OSError:
            refused = True
        assert has_long_name(path) == refused, length
    assert has_long_name(Path("é" * 128)), "256 bytes"
    assert not has_long_name(Path("é" * 127))


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"], "nothing is left behind"


def test_a_link_stays_one(tmp_path: Path) -> None:
    for name, folder in (("there", "real"), ("dangling", "new")):
        (tmp_path / folder).mkdir()
        (tmp_path / name).symlink_to(f"{folder}/file")
    (tmp_path / "real" / "file").write_text("old")
    for name, folder in (("there", "real"), ("dangling", "new")):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("text")
        assert (tmp_path / name).is_symlink()
        assert [one.read_text() for one in (tmp_path / folder).iterdir()] == ["text"]


def interrupted(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_what_must_exist(tmp_path: Path) -> None:
    must_exist(tmp_path, "a folder")
    for missing in (tmp_path / "none", tmp_path / ("n" * 300)):
        with pytest.raises(UsageError, match=r"There is no .*; expected a photo\."):
            must_exist(missing, "a photo")
