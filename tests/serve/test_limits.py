"""Limits on a request at their borders; ``tests/faults/test_server.py`` sees them through the whole server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from lowrank_demo.serve import limits
from lowrank_demo.serve.limits import RequestLimits


def arrived(
    uploads: Path,
    chunks: list[int],
    *,
    path: str = "/call",
    method: str = "POST",
    pause: float = 0,
    content: bytes = b"x",
    **bounds: Any,
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

    sizes: dict[str, Any] = {"max_bytes": 10, "max_json_bytes": 10, "max_upload_bytes": 10, **bounds}
    limited = RequestLimits(app, uploads=uploads, **sizes)
    asyncio.run(limited({"type": "http", "method": method, "path": path}, receive, send))
    return total


FILE = 64_000
"""What a file counts at least."""


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
    slow: list[dict[str, Any]] = [{"stall_seconds": 0.1}, {"body_seconds": 0.5}]
    for seconds in slow:
        with pytest.raises(HTTPException, match="too slowly") as caught:
            arrived(tmp_path, [1, 1, 1, 1], pause=0.3, **seconds)
        assert caught.value.status_code == 408
    assert arrived(tmp_path, [1, 1], pause=0.05, stall_seconds=1) == 2


def test_a_whole_body_may_be_followed_by_a_long_wait(tmp_path: Path) -> None:
    assert arrived(tmp_path, [], pause=0.2, body_seconds=0.3) == 0


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/upload/"])
def test_the_room_for_uploads(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x" * 99_999)
    (tmp_path / "folder" / "small").touch()
    room: dict[str, Any] = {"path": path, "max_upload_bytes": 100_000 + FILE}
    assert arrived(tmp_path, [1], **room) == 1
    with pytest.raises(HTTPException, match="no room for more uploads") as caught:
        arrived(tmp_path, [2], **room)
    assert caught.value.status_code == 503
    assert arrived(tmp_path, [2]) == 2, "no upload"
    with pytest.raises(HTTPException, match="no room"):
        arrived(tmp_path, [1], also_kept=lambda: 1, **room)


def test_tiny_files_take_room_while_they_arrive(tmp_path: Path) -> None:
    """A million of them fitted where 4 GB were allowed, and took minutes to count."""
    field = b'Content-Disposition: form-data; name="files"; filename="a"\r\n'

    async def app(scope: object, receive: Any, send: object) -> None:
        for number in range(20):
            await receive()
            (tmp_path / f"folder{number}").mkdir()
            (tmp_path / f"folder{number}" / "a").touch()

    async def receive() -> MutableMapping[str, Any]:
        return {"body": field, "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    limited = RequestLimits(app, max_bytes=9000, max_json_bytes=10, uploads=tmp_path, max_upload_bytes=5 * FILE + 1000)
    with pytest.raises(HTTPException, match="no room"):
        asyncio.run(limited({"type": "http", "method": "POST", "path": "/gradio_api/upload"}, receive, send))
    assert len(list(tmp_path.iterdir())) == 5


def test_a_full_folder_is_not_measured_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every refused upload counted all files again, one after the other."""
    measured = 0

    def slow(folder: Path) -> int:
        nonlocal measured
        measured += 1
        time.sleep(0.2)
        return 1000

    async def app(scope: object, receive: Any, send: object) -> None:
        await receive()

    async def receive() -> MutableMapping[str, Any]:
        return {"body": b"x", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    async def many() -> list[Any]:
        limited = RequestLimits(app, max_bytes=10, max_json_bytes=10, uploads=tmp_path, max_upload_bytes=100)
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload"}
        return await asyncio.gather(*(limited(dict(scope), receive, send) for _ in range(8)), return_exceptions=True)

    monkeypatch.setattr(limits, "_size", slow)
    assert {outcome.status_code for outcome in asyncio.run(many())} == {503}
    assert measured == 1


def test_uploads_at_the_same_time_share_the_room(tmp_path: Path) -> None:
    most = 0

    async def app(scope: object, receive: Any, send: object) -> None:
        nonlocal most
        with (tmp_path / str(id(receive))).open("wb") as file:
            while (message := await receive()).get("more_body"):
                file.write(message["body"])
                file.flush()
                most = max(most, sum(path.stat().st_size for path in tmp_path.iterdir()))

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0.01)
        return {"body": b"x" * 100_000, "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    async def all_at_once() -> list[Any]:
        most_bytes: dict[str, Any] = {"max_bytes": 10_000_000, "max_json_bytes": 1000, "max_upload_bytes": 3_000_000}
        limited = RequestLimits(app, uploads=tmp_path, **most_bytes)
        scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload"}
        return await asyncio.gather(*(limited(dict(scope), receive, send) for _ in range(8)), return_exceptions=True)

    for outcome in asyncio.run(all_at_once()):
        assert outcome.status_code == 503
    assert 2_000_000 < most <= 3_800_000, "at most one chunk each that was on its way when the folder was measured"


def test_what_breaks_in_an_upload_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: object, receive: Any, send: object) -> None:
        (tmp_path / "moved").mkdir()
        (tmp_path / "moved" / "photo.jpg").write_bytes(b"x")
        with (tmp_path / "tmp1").open("wb"):
            raise TypeError("str has no file")

    async def receive() -> MutableMapping[str, Any]:
        return {"body": b"x", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    limited = RequestLimits(app, max_bytes=10, max_json_bytes=10, uploads=tmp_path, max_upload_bytes=100)
    with (tmp_path / "tmp2").open("wb"):  # another upload that is arriving
        asyncio.run(limited({"type": "http", "method": "POST", "path": "/gradio_api/upload"}, receive, send))
        assert sent[0]["status"] == 400
        assert b"expected a form" in sent[1]["body"]
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["moved", "photo.jpg", "tmp2"]
