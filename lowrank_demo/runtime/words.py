"""Words for messages: numbers with their nouns, and what went wrong."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 photo``, ``2,000 photos``, ``3 classes``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def percent(share: float) -> str:
    """Return a share for people: ``42 %``, and with a decimal below ten: ``3.1 %``."""
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def lambda_text(value: float) -> str:
    """Return a λ as the paper prints it, such as ``0.25e-4``; one below 0.1e-4 has two digits, ``0.013e-4``."""
    price = value * 1e4
    return f"{price:.2f}e-4" if price >= 0.1 else f"{price:.2g}e-4"


def printable(text: object) -> str:
    """Return a name as lists show it: one line, with whatever would move a terminal's cursor escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(text))


def reason(error: Exception) -> str:
    """Return why something failed: the system's words without its number, or what the error says."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
