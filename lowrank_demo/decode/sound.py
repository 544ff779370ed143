"""Tell from a JPEG's structure whether it decodes, without decoding it.

A decoder refuses a JPEG whose tables, segments or end are missing or malformed. It never refuses one because of its
coded data: a JPEG has no checksum, so whatever is there is taken for pixels.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import accumulate

from .markers import DHT, DQT, DRI, EOI, LEFT_OUT, SOI, SOS, end_of_scan

_MAX_SEGMENTS = 100
_MAX_PIXELS, _MAX_EDGE = 32_000_000, 65_500
_MAX_BLOCKS = 10
"""Blocks of 8 x 8 values that a unit of a scan may have."""
_SAMPLING = frozenset({1, 2, 4})
"""A factor of 3 is also allowed, but decoders fail if it stands beside one of 2."""
_MAX_DC_SYMBOL = 15
_SEGMENT, _SIZE = struct.Struct(">BBH"), struct.Struct(">BHH")
_BASELINE = 0xC0


class _Odd(Exception):
    """The file is not a whole JPEG of the usual kind."""


def is_sound(data: bytes) -> bool:
    """Return whether a file is a whole JPEG of the usual kind, which decodes without an error.

    That is a baseline JPEG in one scan, whose tables are there and well-formed, and whose coded data holds no marker
    before the end of the image. Damage inside the coded data is not seen; decoding does not refuse it either.

    Args:
        data: Any file.

    Returns:
        False for every other file, whether it decodes or not.
    """
    try:
        return _walk(data)
    except (_Odd, struct.error, IndexError):
        return False


def _walk(data: bytes) -> bool:
    if data[:2] != SOI:
        raise _Odd
    frame = b""
    quantisation: set[int] = set()
    huffman: set[int] = set()
    at = 2
    for _ in range(_MAX_SEGMENTS):
        start, marker, length = _SEGMENT.unpack_from(data, at)
        content = data[at + 4 : at + 2 + length]
        if start != 0xFF or len(content) != length - 2:
            raise _Odd
        at += 2 + length
        if marker in LEFT_OUT:  # if Pillow fails to read this, it opens the file without it
            continue
        if marker == DHT:
            huffman.update(_huffman_tables(content))
        elif marker == DQT:
            quantisation.update(_quantisation_tables(content))
        elif marker == _BASELINE and not frame:
            frame = content
        elif marker == SOS:
            needed = _tables_needed(frame[_SIZE.size :], content)
            return _fits(frame) and quantisation >= needed[0] and huffman >= needed[1] and _ends(data, at)
        elif marker != DRI or length != 4:
            raise _Odd
    raise _Odd


@lru_cache(maxsize=256)
def _quantisation_tables(content: bytes) -> bytes:
    """Return the numbers of the tables in a segment; each is followed by 64 values of 8 bits."""
    numbers = content[::65]
    if not content or len(content) % 65 or max(numbers) > 3:
        raise _Odd
    return numbers


@lru_cache(maxsize=256)
def _huffman_tables(content: bytes) -> tuple[int, ...]:
    """Return the numbers of the tables in a segment, 0 to 3 for DC and 16 to 19 for AC. Most photos have the same."""
    numbers: list[int] = []
    at = 0
    while at < len(content):
        number, counts = content[at], content[at + 1 : at + 17]
        total = sum(counts)
        symbols = content[at + 17 : at + 17 + total]
        if len(counts) < 16 or len(symbols) < total or total > 256 or number & ~0x13:
            raise _Odd
        if number < 0x10 and total and max(symbols) > _MAX_DC_SYMBOL:
            raise _Odd
        # The codes of a length follow those of the length before; the one that is all ones is not used.
        following = accumulate(counts, lambda code, count: 2 * code + count)
        if any(code >= 1 << length for length, code in enumerate(following, start=1)):
            raise _Odd
        numbers.append(number)
        at += 17 + total
    return tuple(numbers)


def _fits(frame: bytes) -> bool:
    """Return whether a photo of this size is of the usual kind."""
    bits, height, width = _SIZE.unpack_from(frame)
    return bits == 8 and 0 < width * height <= _MAX_PIXELS and max(width, height) <= _MAX_EDGE


@lru_cache(maxsize=64)
def _tables_needed(components: bytes, scan: bytes) -> tuple[frozenset[int], frozenset[int]]:
    """Return the numbers of the quantisation and Huffman tables that the components use, which are all in the scan."""
    count, names, sampling, quantisation = components[0], components[1::3], components[2::3], components[3::3]
    factors = [(value >> 4, value & 15) for value in sampling]
    if not (
        count in (1, 3, 4)
        and len(components) == 1 + 3 * count
        and len(set(names)) == count
        and _SAMPLING.issuperset(factor for both in factors for factor in both)
        and (count == 1 or sum(across * down for across, down in factors) <= _MAX_BLOCKS)
        and len(scan) == 4 + 2 * count
        and scan[0] == count
        and scan[1:-3:2] == names
    ):
        raise _Odd
    coding = scan[2:-3:2]
    return frozenset(quantisation), frozenset([value >> 4 for value in coding] + [value & 15 | 16 for value in coding])


def _ends(data: bytes, at: int) -> bool:
    """Return whether the first marker after the coded data, which begins here, is the end of the image."""
    # Where the search would take long, the file cannot be opened without its metadata, which Pillow may fail to read.
    end = end_of_scan(data, at)
    return end is not None and data[end + 1] == EOI
