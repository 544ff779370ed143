"""Keep the page's address in step with what it shows (models, tab, λ and μ), so that a view can be bookmarked.

The first view writes its example photo itself. Other parameters, such as the theme, stay as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..errors import LowRankError
from ..models.cards import DEFAULT_FAMILY
from .events import QUIET
from .page import Page, warn

_WRITE = """({arguments}) => {{
  const url = new URL(window.location);
  {body}
  window.history.replaceState(null, '', url);
  window.lowrankAddress = url.href;
}}"""
_FORMER = {"classify": "photos", "compare": "photos", "pareto": "trade-off", "about": "how"}
"""Former names of tabs, which old links may still contain, and the present names."""
# An address that names no tab of today is mended first. Back and Forward move between tabs; all else stays as the page
# shows it.
_BACK = """
const former = {former}, titles = {titles};
const mended = new URL(window.location), named = mended.searchParams.get('tab');
if (named && !(named in titles)) {{
  if (former[named]) mended.searchParams.set('tab', former[named]); else mended.searchParams.delete('tab');
  window.history.replaceState(null, '', mended);
}}
window.addEventListener('popstate', () => {{
  const tab = new URL(window.location).searchParams.get('tab') || Object.keys(titles)[0];
  const url = new URL(window.lowrankAddress || window.location);
  url.searchParams.set('tab', tab);
  window.history.replaceState(null, '', url);
  // On a phone, the last tabs are in a menu, where they have no id.
  const menu = [...document.querySelectorAll('#lr-tabs .overflow-dropdown button')];
  const button = document.getElementById(`lr-tab-${{tab}}-button`)
    || menu.find((one) => one.textContent.trim() === titles[tab]);
  button?.click();
}});
"""
_MODEL = """const [family, scheme, version] = id.split('/');
  url.searchParams.set('scheme', scheme.replace('scheme_', ''));
  url.searchParams.set('version', version);
  if (family === 'published') url.searchParams.delete('family'); else url.searchParams.set('family', family);"""
_WRITE_MODEL = _WRITE.format(arguments="id", body=_MODEL)
_OTHER = "if (other) url.searchParams.set('with', other); else url.searchParams.delete('with');"
_MEND = _WRITE.format(
    arguments="id, other",
    body="window.lowrankRestored = true;"
    + _OTHER
    + f"if (url.searchParams.has('scheme') || url.searchParams.has('version')) {{ {_MODEL} }}",
)
"""Replaces the names of models that are not there by those of the models that are shown."""
_WRITE_TRUNCATION = _WRITE.format(
    arguments="lambda, mu",
    body="url.searchParams.set('lambda', lambda); url.searchParams.set('mu', mu);",
)

_WRITE_OTHER = _WRITE.format(arguments="other", body=_OTHER)


def build(page: Page, titles: Sequence[str]) -> None:
    """Write the address when a choice changes, and restore what the address names when the page is opened.

    Args:
        page: The page.
        titles: Titles of the tabs.
    """
    tabs = {tab_id(title): title for title in titles}
    gr.HTML("", js_on_load=_BACK.format(former=json.dumps(_FORMER), titles=json.dumps(tabs)), visible="hidden")
    sliders = [page.log_lambda, page.log_mu]
    page.chosen.change(None, page.chosen, None, js=_WRITE_MODEL, **QUIET)
    page.other.change(None, page.other, None, js=_WRITE_OTHER, **QUIET)
    gr.on([slider.change for slider in sliders], None, sliders, None, js=_WRITE_TRUNCATION, **QUIET)
    restored = [page.tabs, page.stage, page.chosen, page.other, *sliders]

    def restore(request: gr.Request) -> dict[Any, Any]:
        asked = read(request.query_params)
        shown: dict[Any, Any] = dict.fromkeys(restored, gr.skip())
        tab = _FORMER.get(asked.tab, asked.tab)
        if tab in tabs:
            shown[page.tabs] = gr.Tabs(selected=tab)
        for slider, value in zip(sliders, (asked.log_lambda, asked.log_mu), strict=True):
            if value is not None:
                shown[slider] = min(max(value, slider.minimum), slider.maximum)
        try:
            if asked.model:
                shown |= page.choose(page.card(asked.model))
            if asked.other:
                shown[page.other] = page.card(asked.other.partition("@")[0]).id
        except LowRankError as error:
            # Keep only the reason: the whole message lists every model.
            reason, _, _ = str(error).partition(";")
            warn(f"The link names a model that is not here. {reason}.")
        return shown

    page.loaded(restore, None, restored, **QUIET).then(None, [page.chosen, page.other], None, js=_MEND, **QUIET)


def follow_tab(tab: gr.Tab) -> None:
    """Write the tab's id into the address when a visitor chooses it.

    Gradio selects the first tab by itself before the address is read, and may report a selection again when the visitor
    is on another tab: such events are ignored.
    """
    body = (
        f"if (!window.lowrankRestored || !document.getElementById('{tab.elem_id}')?.offsetParent) return; "
        f"if ((url.searchParams.get('tab') || 'photos') !== '{tab.id}') window.history.pushState(null, '', url); "
        f"url.searchParams.set('tab', '{tab.id}');"
    )
    tab.select(None, None, None, js=_WRITE.format(arguments="", body=body), **QUIET)


def tab_id(title: str) -> str:
    """Return the name of a tab in the address: the first word of its title."""
    return title.split()[0].lower()


@dataclass(frozen=True)
class Address:
    """What a link names; empty or None where it names nothing."""

    model: str
    other: str
    """Id of the model to draw beside the chosen one."""
    tab: str
    log_lambda: float | None
    log_mu: float | None


def read(query: Mapping[str, str]) -> Address:
    """Read the parameters of the page's address."""
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
