"""Walking folders: links are followed, hidden folders left out, what cannot be entered is listed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lowrank_demo.data.walk import Images, image_files
from lowrank_demo.errors import UsageError
from tests.helpers.paths import touch


def names(root: Path, images: Images) -> list[str]:
    return [path.relative_to(root).as_posix() for path in images.files]


def reasons(root: Path, images: Images) -> dict[str, str]:
    return {item.path.relative_to(root).as_posix(): item.reason for item in images.refused}


def test_images_are_known_by_their_extension_and_hidden_ones_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a/c.JPEG", "a/notes.txt", "a/.d.jpg", "a/._e.jpg", "a/f.HEIC")
    hidden = (".ipynb_checkpoints", "@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", ".git")
    touch(tmp_path, *(f"a/{folder}/x.jpg" for folder in hidden))
    found = image_files(tmp_path)
    assert names(tmp_path, found) == ["a/c.JPEG", "a/f.HEIC", "b.jpg"]
    assert not found.refused
    with pytest.raises(UsageError, match="There is no folder"):
        image_files(tmp_path / "none")


def test_a_folder_whose_own_name_is_hidden_can_be_named(tmp_path: Path) -> None:
    root = touch(tmp_path / ".data", "a.jpg")
    assert names(root, image_files(root)) == ["a.jpg"]


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg", "deep/2.jpg")
    root = touch(tmp_path / "root", "own/3.jpg")
    (root / "lion").symlink_to(tmp_path / "elsewhere")
    (root / "4.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    (root / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    found = image_files(root)
    assert names(root, found) == ["4.jpg", "again/2.jpg", "lion/1.jpg", "lion/deep/2.jpg", "own/3.jpg"]
    assert not found.refused


def test_links_without_an_end_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "lion/1.jpg")
    (tmp_path / "lion" / "up").symlink_to(tmp_path)
    (tmp_path / "lion" / "out").symlink_to(tmp_path.parent)
    (tmp_path / "lion" / "self").symlink_to(tmp_path / "lion" / "self")
    (tmp_path / "lion" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = image_files(tmp_path)
    assert names(tmp_path, found) == ["lion/1.jpg"]
    assert reasons(tmp_path, found) == {
        "lion/gone.jpg": "The link is broken: its target does not exist.",
        "lion/self": f"It cannot be read ({os.strerror(errno.ELOOP)}).",
        "lion/out": "The link points back to one of its parent folders; remove it.",
        "lion/up": "The link points back to one of its parent folders; remove it.",
    }
    assert sum(item.images for item in found.refused) == 1


def test_the_walk_of_deep_folders_ends(tmp_path: Path) -> None:
    deep = touch(tmp_path, "lion/1.jpg")
    for _ in range(150):
        deep /= "d"
    touch(deep, "2.jpg")
    found = image_files(tmp_path)
    assert names(tmp_path, found) == ["lion/1.jpg"]
    assert set(reasons(tmp_path, found).values()) == {"It lies 101 folders deep; expected at most 100."}


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Give up root's right to enter every folder, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
@pytest.mark.parametrize("rights", [0, 0o444], ids=["no rights", "names can be read"])
def test_folders_that_cannot_be_entered_are_listed(rights: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = touch(Path(folder), "lion/1.jpg", "tench/2.jpg")
        root.chmod(0o755)
        (root / "bird").symlink_to(root / "tench" / "deep")
        (root / "tench").chmod(rights)
        with as_ordinary_user():
            found = image_files(root)
        (root / "tench").chmod(0o755)
        assert names(root, found) == ["lion/1.jpg"]
        assert reasons(root, found) == {
            "bird": "It cannot be read (Permission denied).",
            "tench": "The folder cannot be entered (Permission denied).",
        }
