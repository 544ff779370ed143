"""The page's address follows what is shown, so that it can be bookmarked and sent: model, comparison, tab, λ and μ.

Other parameters (the theme) stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..models.cards import DEFAULT_FAMILY

_WRITE = """({arguments}) => {{
  const url = new URL(window.location);
  {body}
  window.history.replaceState(null, '', url);
}}"""

WRITE_MODEL = _WRITE.format(
    arguments="id",
    body="""const [family, scheme, version] = id.split('/');
  url.searchParams.set('scheme', scheme.replace('scheme_', ''));
  url.searchParams.set('version', version);
  if (family === 'published') url.searchParams.delete('family'); else url.searchParams.set('family', family);""",
)
WRITE_CUT = _WRITE.format(
    arguments="lambda, mu",
    body="url.searchParams.set('lambda', lambda); url.searchParams.set('mu', mu);",
)

WRITE_OTHER = _WRITE.format(
    arguments="id",
    body="if (id) url.searchParams.set('with', id); else url.searchParams.delete('with');",
)


def write_tab(tab: str) -> str:
    """Script for a tab's selection.

    The first tab is selected once by itself, before the address was read: only a visitor's own choice is written.
    """
    return _WRITE.format(
        arguments="",
        body=f"if (document.activeElement === document.body) return; url.searchParams.set('tab', '{tab}');",
    )


@dataclass(frozen=True)
class Address:
    """What a link asks for; empty or None where it does not."""

    model: str
    other: str
    """Id of the model beside it."""
    tab: str
    lambda_: float | None
    """Power of ten."""
    mu: float | None
    """Power of ten."""


def read(query: Mapping[str, str]) -> Address:
    """What the page's address asks for."""
    scheme, version = str(query.get("scheme", "")).removeprefix("scheme_"), str(query.get("version", ""))
    family = str(query.get("family", "")) or DEFAULT_FAMILY
    model = f"{family}/scheme_{scheme}/{version}" if scheme or version else ""
    other, tab = str(query.get("with", "")), str(query.get("tab", ""))
    return Address(model, other, tab, _number(query.get("lambda")), _number(query.get("mu")))


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
