"""Walk a JPEG's markers without decoding it: is it an ordinary one, and which parts does decoding need?

Ordinary photos cost little to decode. A small file can cost much: thousands of scans over many pixels, a million empty
segments, EXIF data whose tags all share the same bytes.
"""

from __future__ import annotations

import re
import struct

_MAX_SEGMENTS = 500
"""Segments beside the scans. A profile or a preview in pieces of 64 kB takes a few dozen."""
_MAX_SCANS = 24
"""Encoders write 1 to 20."""
_SCANS_FOR_PIXELS = 6
"""Turning coefficients into pixels takes as long as reading so many scans."""
_MAX_COST = 90_000_000
"""Limit on the cost of a JPEG in several scans; see :func:`jpeg_cost`. 5.6 megapixels in ten scans cost as much."""
_MAX_PIXELS = 32_000_000
_MAX_SCANNED_PIXELS = 20_000_000
"""Pixels of a JPEG in several scans: all its coefficients are in memory until the last one is read."""
_STEP = 1 << 18
"""Bytes that are searched at a time: other threads wait meanwhile."""
_MAX_FF_SHARE = 1 / 8
"""Largest share of 0xFF bytes in coded data: the search stops at each of them. In photos it is a hundredth."""

SOI, EOI, SOS, DHT, DQT, DRI = b"\xff\xd8", 0xD9, 0xDA, 0xC4, 0xDB, 0xDD
"""The start of a JPEG, and what follows 0xFF in the markers of its segments."""
_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive, with Huffman coding."""
LEFT_OUT = frozenset({0xFE, *range(_APP0, 0xF0)})
"""Comments and what applications add: decoding does not need them, except the two below."""
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
"""A shorter JFIF or Adobe segment says nothing, and Pillow fails to read it."""
_JFIF, _ADOBE, _EXIF, _XMP = b"JFIF\0", b"Adobe", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# In entropy-coded data, 0x00 or a restart marker follows 0xFF. Anything else is the marker of the next segment.
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
ORIENTATION_TAG = 0x0112
_NUMBERS = {3: "H", 4: "I"}
"""EXIF's types of whole numbers."""
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def end_of_scan(data: bytes, at: int) -> int | None:
    """Return where the coded data that starts here ends; None if no marker follows or the search would take long."""
    for start in range(at, len(data), _STEP):
        end = start + _STEP + 1
        if data.count(0xFF, start, end) > _MAX_FF_SHARE * _STEP:
            return None
        if found := NEXT_MARKER.search(data, start, end):
            return found.start()
    return None


def ordinary_jpeg(data: bytes, max_pixels: int = _MAX_PIXELS) -> bytes | None:
    """Return an ordinary JPEG with no more than decoding needs: of its EXIF data, only the orientation.

    Args:
        data: Any file.
        max_pixels: The limit of a photo; there are lower ones for what is decoded in this process.

    Returns:
        A JPEG that decodes to the same pixels; None for any other file, and for a JPEG that is damaged or unusual.
    """
    try:
        return _Walk(data, max_pixels).kept()
    except (_Unusual, struct.error, IndexError):
        return None


def jpeg_cost(data: bytes) -> int:
    """Return about what decoding an ordinary JPEG costs: its pixels, times its scans and six more.

    One unit takes up to 2.7 ns (noise in high quality), and about 1 ns in most photos.

    Args:
        data: What :func:`ordinary_jpeg` returned. The cost of any other file is 0.
    """
    # In coded data, no scan's marker follows 0xFF.
    return _pixels(data) * (_SCANS_FOR_PIXELS + data.count(bytes((0xFF, SOS))))


def _pixels(data: bytes) -> int:
    """Return the pixels that a JPEG's header states; 0 for any other file."""
    at = 2
    while data[:2] == SOI and data[at : at + 1] == b"\xff" and len(data) >= at + 9:
        if data[at + 1] in _FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return height * width
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return 0


class _Unusual(Exception):
    """The file is not an ordinary JPEG."""


class _Walk:
    """One pass over a file."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data = data
        self._max_pixels = max_pixels
        self._pixels = 0
        self._scans = 0
        self._kept: list[memoryview] = []
        self._exif: int | None = None
        self._xmp: int | None = None

    def kept(self) -> bytes:
        """Return the segments that decoding needs.

        Raises:
            _Unusual: The file is not an ordinary JPEG.
        """
        data, view = self._data, memoryview(self._data)
        if data[:2] != SOI:
            raise _Unusual
        at = 2
        for _ in range(_MAX_SEGMENTS + _MAX_SCANS):
            begin = at
            if data[at] != 0xFF:
                raise _Unusual
            marker = data[at + 1]
            if marker == EOI:
                return self._joined()
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + length
            if length < 2 or at >= len(data):
                raise _Unusual
            content = view[begin + 4 : at]
            if marker == SOS:
                at = self._scan(at)
            elif marker in _FRAMES:
                self._frame(content)
            elif marker in LEFT_OUT:
                if not self._belongs(marker, content):
                    continue
            elif marker not in (DHT, DQT, DRI):
                raise _Unusual
            self._kept.append(view[begin:at])
        raise _Unusual

    def _scan(self, at: int) -> int:
        """Return where the coded data that starts here ends."""
        self._scans += 1
        limit = _MAX_PIXELS if self._scans == 1 else _MAX_SCANNED_PIXELS
        if not self._pixels or self._pixels > min(limit, self._max_pixels) or self._scans > _MAX_SCANS:
            raise _Unusual
        if self._scans > 1 and (_SCANS_FOR_PIXELS + self._scans) * self._pixels > _MAX_COST:
            raise _Unusual
        end = end_of_scan(self._data, at)
        if end is None:
            raise _Unusual
        return end

    def _frame(self, content: memoryview) -> None:
        bits, height, width, components = struct.unpack_from(">BHHB", content)
        if self._pixels or bits != 8 or not width * height or components not in (1, 3, 4):
            raise _Unusual
        self._pixels = width * height

    def _belongs(self, marker: int, content: memoryview) -> bool:
        """Return whether decoding needs an application's segment; note an orientation that it states."""
        if marker == _APP1 and content[: len(_EXIF)] == _EXIF and self._exif is None:
            self._exif = _exif_orientation(bytes(content[len(_EXIF) :]))
        elif marker == _APP1 and content[: len(_XMP)] == _XMP and self._xmp is None:
            found = _XMP_ORIENTATION.search(content)
            self._xmp = int(found[1]) if found else None
        # Each says what the colours are.
        jfif = marker == _APP0 and content[: len(_JFIF)] == _JFIF and len(content) >= _JFIF_BYTES
        return jfif or (marker == _APP14 and content[: len(_ADOBE)] == _ADOBE and len(content) >= _ADOBE_BYTES)

    def _joined(self) -> bytes:
        if not self._scans:
            raise _Unusual
        orientation = self._exif or self._xmp or 1
        exif = _exif_segment(orientation) if orientation in range(2, 9) else b""
        return b"".join([SOI, exif, *self._kept, bytes((0xFF, EOI))])


def _exif_orientation(tiff: bytes) -> int | None:
    """Return the orientation that EXIF data states; None if it states none, or is damaged."""
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for at in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, at)
            if tag == ORIENTATION_TAG and kind in _NUMBERS and values == 1:
                return struct.unpack_from(f"{order}{_NUMBERS[kind]}", tiff, at + 8)[0]
    except struct.error:  # cut off
        pass
    return None


def _exif_segment(orientation: int) -> bytes:
    """Return a segment that states an orientation and nothing else."""
    tiff = struct.pack("<4sIHHHIII", b"II*\0", 8, 1, ORIENTATION_TAG, 3, 1, orientation, 0)
    return struct.pack(">BBH", 0xFF, _APP1, 2 + len(_EXIF) + len(tiff)) + _EXIF + tiff
