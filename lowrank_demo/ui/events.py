"""Options that listeners of the page share."""

from __future__ import annotations

from typing import Any

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""For listeners that answer at once: no endpoint of the API, no progress animation."""
