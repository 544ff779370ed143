"""Words for messages: numbers with their nouns, and what went wrong."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 photo``, ``2,000 photos``, ``3 classes``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def percent(share: float) -> str:
    """Return a share for people: ``42 %``, and with a decimal below ten: ``3.1 %``."""
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def reason(error: Exception) -> str:
    """Return why something failed: the system's words without its number, or what the error says."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
