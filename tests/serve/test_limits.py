"""Limits on a request at their borders; ``tests/faults/test_server.py`` sees them through the whole server."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from lowrank_demo.serve.limits import RequestLimits


def arrived(
    uploads: Path,
    chunks: list[int],
    *,
    path: str = "/call",
    method: str = "POST",
    pause: float = 0,
    content: bytes = b"x",
    **limits: float,
) -> int:
    """Send chunks of these sizes through the limits; return the bytes that reached the app behind them."""
    body: list[MutableMapping[str, Any]] = [{"body": content * size, "more_body": True} for size in chunks]
    body += [{"body": b"", "more_body": False}, {"type": "http.disconnect"}]
    total = 0

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(pause)
        return body.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    async def app(scope: object, receive: Any, send: object) -> None:
        nonlocal total
        while (message := await receive()).get("type") != "http.disconnect":
            total += len(message["body"])

    sizes: dict[str, Any] = {"max_bytes": 10, "max_json_bytes": 10, "max_upload_bytes": 10, **limits}
    limited = RequestLimits(app, uploads=uploads, **sizes)
    asyncio.run(limited({"type": "http", "method": method, "path": path}, receive, send))
    return total


def test_the_size_of_a_body(tmp_path: Path) -> None:
    assert arrived(tmp_path, [5, 5]) == 10
    with pytest.raises(HTTPException, match="upload the photos instead") as caught:
        arrived(tmp_path, [5, 5, 1], max_bytes=20)
    assert caught.value.status_code == 413
    with pytest.raises(HTTPException, match="send fewer or smaller files"):
        arrived(tmp_path, [5, 5, 1], path="/gradio_api/upload", max_upload_bytes=100_000, max_json_bytes=20)
    assert arrived(tmp_path, [20], method="GET") == 20, "not what the limits are for"


def test_the_values_of_a_body(tmp_path: Path) -> None:
    size: dict[str, Any] = {"max_json_bytes": 1_000_000, "max_bytes": 1_000_000, "max_upload_bytes": 1_000_000}
    assert arrived(tmp_path, [40_000, 10_000], content=b",", **size) == 50_000
    with pytest.raises(HTTPException, match="too many values") as caught:
        arrived(tmp_path, [10_000, 2_501], content=b"[{:,", **size)
    assert caught.value.status_code == 413
    assert arrived(tmp_path, [60_000], content=b"[", path="/gradio_api/upload", **size) == 60_000, "a photo's bytes"


def test_the_time_of_a_body(tmp_path: Path) -> None:
    limits: list[dict[str, Any]] = [{"stall_seconds": 0.1}, {"body_seconds": 0.5}]
    for seconds in limits:
        with pytest.raises(HTTPException, match="too slowly") as caught:
            arrived(tmp_path, [1, 1, 1, 1], pause=0.3, **seconds)
        assert caught.value.status_code == 408
    assert arrived(tmp_path, [1, 1], pause=0.05, stall_seconds=1) == 2


def test_a_whole_body_may_be_followed_by_a_long_wait(tmp_path: Path) -> None:
    assert arrived(tmp_path, [], pause=0.2, body_seconds=0.3) == 0


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/upload/"])
def test_the_room_for_uploads(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file"
    room = (tmp_path / "folder").stat().st_size
    file.write_bytes(b"x" * 10)
    assert arrived(tmp_path, [1], path=path, max_upload_bytes=room + 10) == 1
    file.write_bytes(b"x" * 11)
    with pytest.raises(HTTPException, match="no room for more uploads") as caught:
        arrived(tmp_path, [1], path=path, max_upload_bytes=room + 10)
    assert caught.value.status_code == 503
    assert arrived(tmp_path, [1], max_upload_bytes=room + 10) == 1, "no upload"
