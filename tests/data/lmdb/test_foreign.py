"""LMDB files of other programs are named as what they seem to be. Each sample has the bytes that its program writes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.data.lmdb.record import Record, encode_record
from lowrank_demo.errors import DataError
from tests.helpers.lmdb_files import keys_of, raw_lmdb
from tests.helpers.photos import photo_path

JPEG = photo_path("lion.jpg").read_bytes()
DATUM = b"\x08\x03\x10\x80\x02\x18\x80\x02\x22\xb9\x90\x01" + JPEG + b"\x28\xa3\x02\x38\x01"
DATUM_WITHOUT_SIZE = b"\x22\xb9\x90\x01" + JPEG + b"\x28\xa3\x02\x38\x01"
PYARROW = bytes(16) + b"\xff\xff\xff\xff\x70\x01\x00\x00\x10\x00\x00\x00\x00\x00\x0a\x00"
"""The first bytes of what pyarrow 10's ``serialize`` makes of a list of keys, and of an image with its label."""
SHA1 = "00000001a62b5bd6afe3ad0a2f3b4c1f5b0b6a51"


@pytest.mark.parametrize(
    ("found", "values"),
    [
        ("Caffe's Datum", {b"00000000_n02129165/n02129165_0.JPEG": DATUM}),
        ("Caffe's Datum", {b"00000000_lion.jpg": DATUM_WITHOUT_SIZE}),
        ("Caffe's Datum", {b"00000000": DATUM}),
        ("bare images without labels, as LSUN's are", {SHA1.encode(): b"RIFF\x10\x00\x00\x00WEBPVP8 "}),
        ("bare images without labels", {b"0001": JPEG, b"0002": JPEG}),
        (
            "pickles, as folder2lmdb",
            {b"0": pickle.dumps((JPEG, 291)), b"__keys__": pickle.dumps([b"0"]), b"__len__": pickle.dumps(1)},
        ),
        ("pyarrow's format", {b"0": PYARROW + JPEG, b"__keys__": PYARROW + b"0", b"__len__": PYARROW}),
        ("pyarrow's format", {b"00000000": JPEG, b"__keys__": bytes(4) + b"\1" + bytes(7) + b"\xff\xff\xff\xff"}),
        ("pickles", {b"00000000": pickle.dumps((JPEG, 291)), b"__keys__": keys_of(1)}),
        ("bare images", {b"00000000": JPEG, b"__keys__": keys_of(1)}),
    ],
)
def test_what_it_seems_to_be(tmp_path: Path, found: str, values: dict[bytes, bytes]) -> None:
    with pytest.raises(
        DataError, match=rf"^other\.lmdb is not a file .*: it seems to be a file [^.]*{found}.*\. Build"
    ):
        LmdbReader(raw_lmdb(tmp_path / "other.lmdb", values))


def test_only_our_own_records_make_a_file_unfinished(tmp_path: Path) -> None:
    ours = raw_lmdb(tmp_path / "ours", {b"00000000": encode_record(Record(JPEG, 1))})
    with pytest.raises(DataError, match="unfinished"):
        LmdbReader(ours)
    with pytest.raises(DataError, match="of another kind"):
        LmdbReader(raw_lmdb(tmp_path / "theirs", {b"00000000": b"something"}))
