"""Encoding and decoding one value: the bytes of the original tool, and nothing is executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import lmdb
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_demo.data.lmdb.record import Record, decode_record, encode_record
from lowrank_demo.errors import RecordError
from tests.helpers.paths import SHARED_LMDB


@pytest.mark.skipif(not SHARED_LMDB.exists(), reason="the file built by the original tool is not here")
def test_same_bytes_as_the_original_tool() -> None:
    environment = lmdb.open(str(SHARED_LMDB), subdir=False, readonly=True, lock=False)
    with environment.begin() as transaction:
        values = [bytes(value) for key, value in transaction.cursor() if key != b"__keys__"]
    environment.close()
    assert len(values) == 400
    for value in values:
        record = decode_record(value)
        assert record.image[:2] == b"\xff\xd8"
        assert encode_record(record) == value


@given(st.binary(), st.integers(-(2**63), 2**63 - 1))
def test_round_trip(image: bytes, label: int) -> None:
    assert decode_record(encode_record(Record(image, label))) == Record(image, label)


def test_label_beyond_64_bits() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        encode_record(Record(b"x", 2**63))


@pytest.mark.parametrize("label", [np.uint8(200), np.int64(999), np.int32(-1), np.dtype(">i8").type(7)])
def test_numpy_labels_of_other_writers(label: np.integer) -> None:
    array = np.asarray(label)
    scalar = {b"nd": False, b"type": array.dtype.str, b"data": array.tobytes()}
    image = {"nd": True, "type": "|u1", "kind": "", "shape": [2], "data": b"ab"}  # text keys, as older writers have
    assert decode_record(msgpack.packb([image, scalar])) == Record(b"ab", int(label))  # pyright: ignore


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


IMAGE = {b"nd": True, b"type": "|u1", b"kind": b"", b"shape": [2], b"data": b"ab"}


@pytest.mark.parametrize(
    "value",
    [
        {**IMAGE, b"kind": b"O", b"data": pickle.dumps(Payload())},
        {**IMAGE, b"type": "|O", b"data": pickle.dumps(Payload())},
        {**IMAGE, b"type": "<f4"},
        {**IMAGE, b"shape": [3]},
        {**IMAGE, b"shape": [1, 2]},
        {**IMAGE, b"data": 7},
        {**IMAGE, b"nd": False},
        {},
        7,
        None,
    ],
)
def test_other_images_are_refused(value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordError, match="its image"):
        decode_record(msgpack.packb([value, 1]))  # pyright: ignore
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({**IMAGE, b"type": "<f4"}, 'its image is an array of type "<f4"; expected a vector of uint8'),
        ({}, "its image is an array without a type; expected a vector of uint8"),
        ({**IMAGE, b"shape": [3]}, "its image has a shape that does not match its data"),
    ],
)
def test_the_sentence(value: dict, sentence: str) -> None:
    with pytest.raises(RecordError) as caught:
        decode_record(msgpack.packb([value, 1]))  # pyright: ignore
    assert str(caught.value) == sentence


@pytest.mark.parametrize("label", ["3", 1.5, True, None, {b"nd": False, b"type": "<f8", b"data": b"12345678"}])
def test_other_labels_are_refused(label: object) -> None:
    with pytest.raises(RecordError, match="its label"):
        decode_record(msgpack.packb([IMAGE, label]))  # pyright: ignore


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_record_error(value: bytes) -> None:
    try:
        decode_record(value)
    except RecordError as error:
        assert str(error)
