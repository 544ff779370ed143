"""Encode and decode one LMDB value, an encoded image and its label, in the format of tensorpack 0.9.8's LMDBSerializer.

A value is msgpack of ``[image, label]``. The image is a uint8 vector in msgpack-numpy's encoding: a map with the keys
``nd``, ``type``, ``kind``, ``shape`` and ``data`` as byte strings. msgpack-numpy's own decoder unpickles values of kind
``O``, so a crafted file could execute code. The decoder here reads plain msgpack and accepts only this one structure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgpack

from ...errors import RecordError
from ...runtime.schema import shown

UNLABELLED = -1
"""The label of an image without one."""
_AROUND_IMAGE = 128
"""Upper bound on the bytes of a value besides its image."""
_INTEGER_TYPES = {f"{order}{kind}{size}": (kind, size) for order in "<>|=" for kind in "iu" for size in (1, 2, 4, 8)}


@dataclass(frozen=True)
class Record:
    """A labelled image."""

    image: bytes
    """The encoded file, such as a JPEG."""
    label: int
    """Class index, a signed 64-bit integer; ``UNLABELLED`` for none."""


def encode_record(record: Record) -> bytes:
    """Return the value exactly as tensorpack 0.9.8 writes it.

    Raises:
        ValueError: The label does not fit into 64 bits.
    """
    if not -(2**63) <= record.label < 2**63:
        raise ValueError(f"label {record.label} does not fit into 64 bits")
    image = {b"nd": True, b"type": "|u1", b"kind": b"", b"shape": (len(record.image),), b"data": record.image}
    # The default buffer of a megabyte would cost more than the packing.
    return msgpack.Packer(use_bin_type=True, buf_size=len(record.image) + _AROUND_IMAGE).pack([image, record.label])


def decode_record(value: bytes) -> Record:
    """Decode one value, without executing anything in it.

    Raises:
        RecordError: The value has another format; the message says what was found.
    """
    try:
        # raw: some writers use text keys, others byte strings. No limits: nothing in a value is larger than the value.
        parts = msgpack.unpackb(value, raw=True, strict_map_key=False)
    except Exception as error:  # msgpack raises many types; none says more than this
        raise RecordError(f"its value is not msgpack ({type(error).__name__})") from error
    if not isinstance(parts, list) or len(parts) != 2:
        raise RecordError(f"its value is {_kind(parts)}; expected [image, label]")
    return Record(_image(parts[0]), _label(parts[1]))


def _image(part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    fields = _array(part, "image")
    data = fields.get(b"data")
    if fields.get(b"nd") is not True or fields.get(b"type") not in (b"|u1", b"<u1", b"u1") or fields.get(b"kind"):
        raise RecordError(f"its image is an array {_type(fields)}; expected a vector of uint8")
    if not isinstance(data, bytes) or fields.get(b"shape") != [len(data)]:
        raise RecordError("its image has a shape that does not match its data")
    return data


def _label(part: object) -> int:
    if isinstance(part, int) and not isinstance(part, bool):
        return part
    fields = _array(part, "label")
    data, kind = fields.get(b"data"), fields.get(b"type")
    known = _INTEGER_TYPES.get(kind.decode("ascii", "replace")) if isinstance(kind, bytes) else None
    if known is None or not isinstance(data, bytes) or len(data) != known[1] or not isinstance(kind, bytes):
        raise RecordError(f"its label is an array {_type(fields)}; expected one integer")
    return int.from_bytes(data, "big" if kind.startswith(b">") else "little", signed=known[0] == "i")


def _array(part: object, name: str) -> Mapping[bytes, object]:
    if not isinstance(part, dict):
        raise RecordError(f"its {name} is {_kind(part)}; expected an array")
    return part


def _type(array: Mapping[bytes, object]) -> str:
    kind = array.get(b"type")
    return f"of type {shown(kind.decode('ascii', 'replace'))}" if isinstance(kind, bytes) else "without a type"


def _kind(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"of type {type(value).__name__}"
