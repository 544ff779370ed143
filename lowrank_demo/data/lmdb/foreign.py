"""Recognise LMDB files that other programs wrote, so that their owners are told what they have.

Records are compared with the first bytes that each program writes. Nothing in them is decoded or executed.
"""

from __future__ import annotations

import re

import lmdb

_VARINT = rb"[\x80-\xff]*[\x00-\x7f]"
_PICKLE = re.compile(rb"\x80[\x02-\x05].*\.", re.DOTALL)
# How many tensors and buffers there are, then the start of an Arrow stream.
_PYARROW = re.compile(rb"\x00{4}.{4,12}\xff{4}", re.DOTALL)
# Caffe's Datum: channels, height and width, which an encoded image may lack, then the data.
_DATUM = re.compile(rb"\x08" + _VARINT + rb"\x10" + _VARINT + rb"\x18" + _VARINT + rb"[\x22\x28-\x38]", re.DOTALL)
_CAFFE_KEY = re.compile(rb"[0-9]{8}_.+", re.DOTALL)
_LSUN_KEY = re.compile(rb"[0-9a-f]{40}")
_IMAGE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|RIFF.{4}WEBP|GIF8|BM", re.DOTALL)


def likely_writer(transaction: lmdb.Transaction) -> str | None:
    """Say what a file that this program did not write seems to be: a noun with its article; None if that is unknown."""
    first = next(((key, value) for key, value in transaction.cursor() if bytes(key[:2]) != b"__"), (b"", b""))
    key, value = map(bytes, first)
    keys = bytes(transaction.get(b"__keys__", b""))
    if _PYARROW.match(keys) or _PYARROW.match(value):
        return "a file in pyarrow's format, as folder2lmdb and early tensorpack wrote it"
    if _PICKLE.fullmatch(keys) or _PICKLE.fullmatch(value):
        return "a file of pickles, as folder2lmdb writes it"
    if _DATUM.match(value) or (_CAFFE_KEY.fullmatch(key) and value[:1] == b"\x22"):
        return "a file of Caffe's Datum records, as convert_imageset writes it"
    if _IMAGE.match(value):
        whose = ", as LSUN's are" if _LSUN_KEY.fullmatch(key) else ""
        return f"a file of bare images without labels{whose}"
    return None
