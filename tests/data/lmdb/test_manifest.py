"""A manifest is read whole, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_demo.data.lmdb.manifest import Manifest, manifest_path, read_manifest, write_manifest
from lowrank_demo.errors import DataError
from tests.helpers.strategies import JSON

MANIFEST: dict[str, Any] = {
    "format": 1,
    "file": "some.lmdb",
    "count": 3,
    "bytes": 4096,
    "sha256": "0123456789abcdef" * 4,
    "shortest_edge": None,
    "classes": {"1": 2, "7": 1},
    "refused": 0,
    "seed": None,
}


def write(folder: Path, value: object) -> Path:
    file = folder / "some.lmdb"
    manifest_path(file).write_text(json.dumps(value))
    return file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    manifest = Manifest("some.lmdb", 3, 4096, "0123456789abcdef" * 4, None, {"1": 2, "7": 1}, 0)
    write_manifest(tmp_path / "some.lmdb", manifest)
    assert read_manifest(tmp_path / "some.lmdb") == manifest
    assert json.loads(manifest_path(tmp_path / "some.lmdb").read_text()) == MANIFEST


def test_a_manifest_without_the_newer_seed_is_read(tmp_path: Path) -> None:
    file = write(tmp_path, {key: value for key, value in MANIFEST.items() if key != "seed"})
    assert read_manifest(file).seed is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "has format 2; expected"),
        ({"format": True}, "has format true; expected"),
        ({"count": "3"}, 'count is "3"; expected a whole number'),
        ({"count": -1}, "count is -1; expected at least 0"),
        ({"sha256": "12"}, 'sha256 is "12"; expected 64 lower-case hex digits'),
        ({"shortest_edge": 0}, "shortest_edge is 0; expected at least 1"),
        ({"classes": {"1": True}}, "classes: 1 is true; expected a whole number"),
        ({"classes": []}, r"classes is \[\]; expected keys and values"),
        ({"colour": "red"}, 'has "colour"; expected one of: file, count'),
    ],
)
def test_refused(tmp_path: Path, change: dict, sentence: str) -> None:
    with pytest.raises(DataError, match=rf"^some\.lmdb\.manifest\.json\W.*{sentence}"):
        read_manifest(write(tmp_path, {**MANIFEST, **change}))
    without = {key: value for key, value in MANIFEST.items() if key != "sha256"}
    with pytest.raises(DataError, match='lacks "sha256"'):
        read_manifest(write(tmp_path, without))
    with pytest.raises(
        DataError, match=r"There is no none\.lmdb\.manifest\.json; expected the manifest that build-lmdb writes"
    ):
        read_manifest(tmp_path / "none.lmdb")


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    file = write(tmp_path, MANIFEST)
    text = manifest_path(file).read_text()
    manifest_path(file).write_text(text.replace('"7": 1', '"7": 1, "7": 2'))
    with pytest.raises(DataError, match=r'^some\.lmdb\.manifest\.json, classes has "7" twice; expected'):
        read_manifest(file)


@settings(deadline=None)
@given(st.sampled_from([None, *sorted(MANIFEST)]), JSON)
def test_any_value_is_a_manifest_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, field: str | None, value: object
) -> None:
    file = write(tmp_path_factory.getbasetemp(), value if field is None else {**MANIFEST, field: value})
    try:
        read_manifest(file)
    except DataError as error:
        assert "some.lmdb.manifest.json" in str(error)
