"""Which listeners write the address."""

from __future__ import annotations

import httpx
import pytest

from tests.helpers.app import RunningApp


@pytest.mark.parametrize(
    ("component", "event"),
    [
        *((name, "change") for name in ("lr-chosen", "lr-compare", "lr-lambda", "lr-mu")),
        *((f"lr-tab-{tab}", "select") for tab in ("photos", "ranks", "explore", "trade-off", "validate", "how")),
    ],
)
def test_the_address_waits_for_no_answer(component: str, event: str, app: RunningApp) -> None:
    """The page runs an event's listeners in this order, and awaits the server's answer to each."""
    config = httpx.get(f"{app.url}/config").json()
    number = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == component)
    first = next(one for one in config["dependencies"] if [number, event] in one["targets"])
    assert not first["backend_fn"]
    assert "replaceState" in first["js"]
