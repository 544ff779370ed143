"""The order of listeners: the page runs those of an event one after another, and awaits the server's answer to each."""

from __future__ import annotations

import httpx
import pytest

from tests.helpers.app import RunningApp


def listeners(app: RunningApp, component: str, event: str) -> tuple[list[dict], dict[str, int]]:
    """Return the listeners of a component's event in their order, and the components' ids."""
    config = httpx.get(f"{app.url}/config").json()
    ids = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
    return [one for one in config["dependencies"] if [ids[component], event] in one["targets"]], ids


@pytest.mark.parametrize(
    ("component", "event"),
    [
        *((name, "change") for name in ("lr-chosen", "lr-compare", "lr-lambda", "lr-mu")),
        *((f"lr-tab-{tab}", "select") for tab in ("photos", "ranks", "explore", "trade-off", "validate", "how")),
    ],
)
def test_the_address_waits_for_no_answer(component: str, event: str, app: RunningApp) -> None:
    (first, *_), _ = listeners(app, component, event)
    assert not first["backend_fn"]
    assert "replaceState" in first["js"]


def test_the_first_view_answers_before_the_table(app: RunningApp) -> None:
    """A drop was answered above after every model had answered below, and counted the clicks that came meanwhile."""
    (first, *others), ids = listeners(app, "lr-photos", "change")
    assert ids["lr-stage"] in first["outputs"]
    assert "lowrankClicks" in first["js"]
    assert any(ids["lr-results"] in one["outputs"] for one in others)
