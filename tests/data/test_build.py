"""A build checks every file, by a JPEG's structure or by decoding it, and both ways say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowrank_demo.data import build
from lowrank_demo.data.build import LmdbBuild, encoded_record
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.data.samples import Sample, Samples
from lowrank_demo.data.walk import listed
from lowrank_demo.decode.pixels import check_image
from lowrank_demo.errors import ImageError
from tests.faults.files import Case, cases
from tests.helpers.photos import encoded, open_photo

CASES = cases()
ALLOWED_HERE = ("144 megapixels in a small PNG", "PNG whose text unpacks to 100 MB")
"""The limits of a build are higher than the app's, since its owner chose the files."""


def outcome(data: bytes, *, decode_all: bool) -> bytes | str:
    """What is stored, or the sentence that says why not."""
    try:
        return encoded_record(data, decode_all=decode_all)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_file_of_the_fault_tests_has_the_same_outcome_both_ways(case: Case) -> None:
    data = case.make()
    found = outcome(data, decode_all=False)
    assert found == outcome(data, decode_all=True)
    if case.name not in ALLOWED_HERE:
        assert (found == data) == (case.expected != "refusal"), found


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that are decoded to check them."""
    files: list[bytes] = []

    def noted(data: bytes) -> None:
        files.append(data)
        check_image(data)

    monkeypatch.setattr(build, "check_image", noted)
    return files


@pytest.mark.parametrize("edge", [None, 256])
@pytest.mark.parametrize(("decode_all", "names"), [(False, 2), (True, 3)])
def test_usual_jpegs_are_decoded_only_on_request(
    edge: int | None, decode_all: bool, names: int, tmp_path: Path, decoded: list[bytes]
) -> None:
    photo = open_photo().resize((256, 300))
    files = {
        "progressive.jpg": encoded(photo, "JPEG", progressive=True),
        "photo.png": encoded(photo, "PNG"),
        "usual.jpg": encoded(photo, "JPEG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    samples = Samples([Sample(tmp_path / name, 7) for name in files])
    for _ in LmdbBuild(samples, tmp_path / "built.lmdb", shortest_edge=edge, decode_all=decode_all):
        pass
    assert decoded == list(files.values())[:names]
    with LmdbReader(tmp_path / "built.lmdb") as reader:
        assert [record.image for record in reader] == list(files.values())


def test_a_file_that_is_too_large_is_refused_and_the_others_are_built(tmp_path: Path) -> None:
    """A MemoryError ended the whole build and named no file."""
    paths = [tmp_path / name for name in ("large.jpg", "a\nrefused: line.jpg", "photo.jpg")]
    with paths[0].open("wb") as file:
        file.truncate(1 << 40)
    paths[1].write_text("no photo")
    paths[2].write_bytes(encoded(open_photo(), "JPEG"))
    samples = Samples([Sample(path, 7) for path in paths])
    made = LmdbBuild(samples, tmp_path / "built.lmdb")
    for _ in made:
        pass
    assert made.count == 1
    large, text = made.refused
    assert large.reason == "The file has 1,099,512 MB; expected an image of at most 2,048 MB."
    assert "a\\nrefused: line.jpg: The file is a text" in listed([text]), "one line for each file"
