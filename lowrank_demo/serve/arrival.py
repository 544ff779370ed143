"""What bodies may take while they arrive: the time of each, and the memory of all JSON bodies together."""

from __future__ import annotations

from starlette.exceptions import HTTPException

_WINDOW_SECONDS = 15.0
"""Time over which a body's pace is measured. A phone may pause for a moment."""
_UPLOAD_PACE, _JSON_PACE = 10_000, 50_000
"""Bytes per second that an upload and a large JSON body must bring. A slower one holds a place that others need."""
_MAX_HELD = 400_000_000
"""Limit on the memory of all large JSON bodies that are arriving or being read."""
_SMALL = 64_000
"""JSON bodies up to this size always have room: connections are limited, so all of these take at most 256 MB."""
_WIDE = 4
"""Bytes of memory that each byte takes if one character is not ASCII: Python then stores all of them alike."""
_MAX_MARKS = 50_000
"""Limit on commas, colons and opening brackets in a JSON body. No real request has so many."""


class Pace:
    """Refuses a body that comes too slowly. Every 15 seconds are measured anew, so that no early haste is credited.

    Args:
        bytes_per_second: The slowest pace.
    """

    def __init__(self, bytes_per_second: int = _UPLOAD_PACE) -> None:
        self._bytes_per_second = bytes_per_second
        self._bytes = 0
        self._seconds = 0.0

    def came(self, count: int, seconds: float) -> None:
        """Note a part of the body.

        Args:
            count: Its bytes.
            seconds: How long the server waited for it.

        Raises:
            HTTPException: The body comes too slowly.
        """
        self._bytes += count
        self._seconds += seconds
        if self._seconds >= _WINDOW_SECONDS:
            if self._bytes < self._bytes_per_second * self._seconds:
                raise too_slow()
            self._bytes, self._seconds = 0, 0.0


class JsonRoom:
    """The memory of all JSON bodies that are arriving or being read. Used by one event loop."""

    def __init__(self) -> None:
        self.held = 0


class JsonBody:
    """One JSON body, which takes many times its size in memory once it is parsed.

    Args:
        room: What all bodies share.
    """

    def __init__(self, room: JsonRoom) -> None:
        self._room = room
        self._pace = Pace(_JSON_PACE)
        self._bytes = self._marks = self._held = 0
        self._wide = False

    def came(self, part: bytes, seconds: float) -> None:
        """Count a part of the body, for which the server waited so many seconds.

        Raises:
            HTTPException: The body has too many values, comes too slowly, or finds no room.
        """
        self._bytes += len(part)
        self._marks += sum(map(part.count, (b",", b":", b"[", b"{")))
        if self._marks > _MAX_MARKS:
            raise HTTPException(413, "The request has too many values; send fewer at once.")
        if self._bytes <= _SMALL:
            return
        self._pace.came(len(part), seconds)
        # A backslash may stand before the number of a character.
        self._wide = self._wide or not part.isascii() or b"\\" in part
        self._hold(self._bytes * (_WIDE if self._wide else 1))

    def release(self) -> None:
        """Give back its room, once it is read or refused."""
        self._hold(0)

    def _hold(self, size: int) -> None:
        self._room.held += size - self._held
        self._held = size
        if size and self._room.held > _MAX_HELD:
            raise HTTPException(503, "Too many large requests are arriving; upload the photos instead.")


def too_slow() -> HTTPException:
    """Return the refusal of a body that comes too slowly."""
    return HTTPException(408, "The request came too slowly; use a faster connection.")
