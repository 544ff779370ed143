"""What the values of any request may be, whichever endpoint or component they are meant for."""

from __future__ import annotations

import math
import re

from ..errors import UsageError
from ..runtime.words import counted

MAX_TEXT = 10_000
"""Limit on the characters of a text that is not a ``data:`` photo."""
_HALF = re.compile("[\ud800-\udfff]")


def check_values(value: object, max_items: int) -> None:
    """Refuse values that would cost too much to handle, and values that no component can produce.

    Args:
        value: The values of a request, as JSON holds them.
        max_items: Items of one list.

    Raises:
        UsageError: A file is an address, a text or a list is too long, a text is not Unicode, or a number is not
            finite.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if len(one) > MAX_TEXT and not (one.startswith("data:") and one.isascii()):
                raise UsageError(
                    f"A text has {len(one):,} characters; expected at most {MAX_TEXT:,}, or a photo as "
                    "data:image/jpeg;base64,…."
                )
            if not one.isascii() and (half := _HALF.search(one)):
                # No answer that holds it can be sent.
                raise UsageError(f"A text has half of a character, U+{ord(half[0]):X}; expected whole characters.")
        elif isinstance(one, float):
            if not math.isfinite(one):
                raise UsageError(f"A number is {one}; expected a finite one.")
        elif isinstance(one, dict):
            # Gradio fetches what such a path names.
            if "meta" in one and str(one.get("path")).lower().startswith(("http:", "https:")):
                raise UsageError(
                    "The path of a file is an address, and no address is fetched here; expected a file that was "
                    "uploaded."
                )
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            if len(one) > max_items:
                raise UsageError(f"A list has {counted(len(one), 'item')}; expected at most {max_items:,}.")
            waiting += one
