"""Limits on a request at their borders; ``tests/faults/test_server.py`` sees them through the whole server."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from lowrank_demo.serve import arrival, limits, upload_room
from lowrank_demo.serve.limits import RequestLimits


def arrived(
    uploads: Path,
    chunks: list[int] | bytes,
    *,
    path: str = "/gradio_api/call/classify",
    method: str = "POST",
    pause: float = 0,
    content: bytes = b"x",
    before: bytes = b"",
    kind: str = "multipart/form-data; boundary=B",
    **bounds: Any,
) -> int:
    """Send chunks of these sizes, and what stands before them, through the limits, or bytes in pieces.

    Returns:
        The bytes that reached the app behind the limits.
    """
    body: list[MutableMapping[str, Any]] = [{"body": before, "more_body": True}] if before else []
    if isinstance(chunks, bytes):
        body += [{"body": chunks[at : at + 97], "more_body": True} for at in range(0, len(chunks), 97)]
    else:
        body += [{"body": content * size, "more_body": True} for size in chunks]
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
    asyncio.run(
        limited(
            {**UPLOAD, "method": method, "path": path, "headers": [(b"content-type", kind.encode())]}, receive, send
        )
    )
    return total


FILE = 16_000
"""What a file counts at least."""
UPLOAD: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/gradio_api/upload",
    "headers": [(b"content-type", b"multipart/form-data; boundary=B")],
}
PART = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
"""The beginning of a file in a form."""


def test_the_size_of_a_body(tmp_path: Path) -> None:
    room: dict[str, Any] = {"max_upload_bytes": 100_000, "max_json_bytes": 2000}
    assert arrived(tmp_path, [5, 5]) == 10
    with pytest.raises(HTTPException, match="upload the photos instead") as caught:
        arrived(tmp_path, [5, 5, 1], max_bytes=20)
    assert caught.value.status_code == 413
    with pytest.raises(HTTPException, match="send fewer or smaller files"):
        arrived(tmp_path, [5, 5, 1], path="/gradio_api/upload", before=PART, max_bytes=len(PART) + 10, **room)
    assert arrived(tmp_path, [20], method="GET") == 20, "not what the limits are for"


def test_the_values_of_a_body(tmp_path: Path) -> None:
    size: dict[str, Any] = {"max_json_bytes": 1_000_000, "max_bytes": 1_000_000, "max_upload_bytes": 1_000_000}
    assert arrived(tmp_path, [40_000, 10_000], content=b",", **size) == 50_000
    with pytest.raises(HTTPException, match="too many values") as caught:
        arrived(tmp_path, [10_000, 2_501], content=b"[{:,", **size)
    assert caught.value.status_code == 413
    path = "/gradio_api/upload"
    assert arrived(tmp_path, [60_000], content=b"[", path=path, before=PART, **size) > 60_000, "a photo's bytes"


def test_the_time_of_a_body(tmp_path: Path) -> None:
    slow: list[dict[str, Any]] = [{"stall_seconds": 0.1}, {"body_seconds": 0.5}]
    for seconds in slow:
        with pytest.raises(HTTPException, match="too slowly") as caught:
            arrived(tmp_path, [1, 1, 1, 1], pause=0.3, **seconds)
        assert caught.value.status_code == 408
    assert arrived(tmp_path, [1, 1], pause=0.05, stall_seconds=20) == 2


def test_a_whole_body_may_be_followed_by_a_long_wait(tmp_path: Path) -> None:
    assert arrived(tmp_path, [], pause=0.2, body_seconds=0.3) == 0


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/upload/"])
def test_the_room_for_uploads(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x" * 99_999)
    (tmp_path / "folder" / "small").touch()
    room: dict[str, Any] = {"path": path, "max_bytes": 1000, "max_upload_bytes": 100_000 + 2 * FILE + len(PART)}
    assert arrived(tmp_path, [], before=PART + b"x", **room) == len(PART) + 1
    with pytest.raises(HTTPException, match="no room for more uploads") as caught:
        arrived(tmp_path, [], before=PART + b"xx", **room)
    assert caught.value.status_code == 503
    assert arrived(tmp_path, [2]) == 2, "no upload"
    with pytest.raises(HTTPException, match="no room"):
        arrived(tmp_path, [], before=PART + b"x", also_kept=lambda: 1, **room)


def test_tiny_files_take_room_while_they_arrive(tmp_path: Path) -> None:
    """A million of them fitted where 4 GB were allowed, and took minutes to count."""
    parts = iter(PART + b"\r\n" for _ in range(20))

    async def app(scope: object, receive: Any, send: object) -> None:
        for number in range(20):
            await receive()
            (tmp_path / f"folder{number}").mkdir()
            (tmp_path / f"folder{number}" / "a").touch()

    async def receive() -> MutableMapping[str, Any]:
        return {"body": next(parts), "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    limited = RequestLimits(app, max_bytes=9000, max_json_bytes=10, uploads=tmp_path, max_upload_bytes=5 * FILE + 1000)
    with pytest.raises(HTTPException, match="no room"):
        asyncio.run(limited(dict(UPLOAD), receive, send))
    assert len(list(tmp_path.iterdir())) == 5


SPELLINGS = {
    "ordinary": b"Content-Disposition: form-data; ",
    "another kind": b"Content-Disposition: attachment; ",
    "a tab": b"content-disposition:\tform-data; ",
    "a space before the semicolon": b"Content-Disposition: form-data ; ",
    "long": b'Content-Disposition: form-data; x="' + b"a" * 520 + b'"; ',
    "the second one counts": b'Content-Disposition: form-data; filename="b"\r\nContent-Disposition: form-data; ',
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_part_is_counted(tmp_path: Path, spelling: str) -> None:
    """What Gradio took for files and texts, but the limits did not, passed every limit."""

    def send(*parts: bytes, room: int = 10**9) -> int:
        form = b"".join(b"--B\r\n" + SPELLINGS[spelling] + part + b"\r\n\r\nx\r\n" for part in parts)
        size: dict[str, Any] = {"max_bytes": 10**9, "max_json_bytes": 10, "max_upload_bytes": room}
        return arrived(tmp_path, form, path="/gradio_api/upload", **size)

    file = b'name="files"; filename="a.jpg"'
    assert send(file)
    with pytest.raises(HTTPException, match="field that is not a file"):
        send(file, b'name="text"')
    with pytest.raises(HTTPException, match="more than 500 files"):
        send(*[file] * 501)
    with pytest.raises(HTTPException, match="no room"):
        send(file, room=FILE)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "text/plain; boundary=B", f"multipart/form-data; boundary={'B' * 300}"]
)
def test_what_is_no_form_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(HTTPException, match="expected a form"):
        arrived(tmp_path, [1], path="/gradio_api/upload", kind=kind)
    with pytest.raises(HTTPException, match="expected a form"):
        arrived(tmp_path, [1], path="/gradio_api/upload", content=b"no boundary", max_bytes=100, max_upload_bytes=100)


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
        return {"body": PART, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    async def many() -> list[Any]:
        limited = RequestLimits(app, max_bytes=1000, max_json_bytes=10, uploads=tmp_path, max_upload_bytes=100)
        return await asyncio.gather(*(limited(dict(UPLOAD), receive, send) for _ in range(8)), return_exceptions=True)

    monkeypatch.setattr(upload_room, "folder_bytes", slow)
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
        return {"body": b"\r\n" * 50_000, "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    async def all_at_once() -> list[Any]:
        most_bytes: dict[str, Any] = {"max_bytes": 10_000_000, "max_json_bytes": 1000, "max_upload_bytes": 3_000_000}
        limited = RequestLimits(app, uploads=tmp_path, **most_bytes)
        return await asyncio.gather(*(limited(dict(UPLOAD), receive, send) for _ in range(8)), return_exceptions=True)

    for outcome in asyncio.run(all_at_once()):
        assert outcome.status_code == 503
    assert 2_000_000 < most <= 3_800_000, "at most one chunk each that was on its way when the folder was measured"


@pytest.mark.parametrize(("turn_seconds", "refused"), [(30.0, 0), (0.2, 4)])
def test_uploads_wait_for_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn_seconds: float, refused: int
) -> None:
    monkeypatch.setattr(limits, "_MAX_UPLOADS", 2)
    arriving, most, statuses = 0, 0, []

    async def app(scope: object, receive: object, send: object) -> None:
        nonlocal arriving, most
        arriving += 1
        most = max(most, arriving)
        await asyncio.sleep(0.5)
        arriving -= 1

    async def receive() -> MutableMapping[str, Any]:
        return {"body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        statuses.append(message.get("status"))

    async def all_at_once() -> None:
        sizes: dict[str, Any] = {"max_bytes": 1000, "max_json_bytes": 1000, "max_upload_bytes": 1000}
        limited = RequestLimits(app, uploads=tmp_path, turn_seconds=turn_seconds, **sizes)
        await asyncio.gather(*(limited(dict(UPLOAD), receive, send) for _ in range(6)))

    asyncio.run(all_at_once())
    assert (most, statuses.count(503)) == (2, refused)


def test_all_json_bodies_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "_MAX_HELD", 1000)
    monkeypatch.setattr(arrival, "_SMALL", 100)
    most: dict[str, Any] = {"max_bytes": 10, "max_json_bytes": 900, "max_upload_bytes": 10, "uploads": tmp_path}

    async def app(scope: object, receive: Any, send: object) -> None:
        while (await receive())["more_body"]:
            pass

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0.05)
        return {"body": b"x" * 400, "more_body": next(arrived) < 2}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(message)

    async def huge() -> MutableMapping[str, Any]:
        return {"body": b"x" * 5000, "more_body": True}

    async def both() -> list[Any]:
        limited = RequestLimits(app, **most)
        call = {**UPLOAD, "path": "/gradio_api/queue/join"}
        with pytest.raises(HTTPException, match="larger than"):  # what is refused is not held, nor given back
            await limited(call, huge, send)
        at_once = await asyncio.gather(*(limited(call, receive, send) for _ in range(2)), return_exceptions=True)
        await limited(call, receive, send)  # both have ended: there is room again
        return at_once

    arrived = itertools.count()
    assert [getattr(outcome, "status_code", None) for outcome in asyncio.run(both())].count(503) == 1


def test_what_breaks_in_an_upload_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: object, receive: Any, send: object) -> None:
        (tmp_path / "moved").mkdir()
        (tmp_path / "moved" / "photo.jpg").write_bytes(b"x")
        with (tmp_path / "tmp1").open("wb"):
            raise TypeError("str has no file")

    async def receive() -> MutableMapping[str, Any]:
        return {"body": PART, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    limited = RequestLimits(app, max_bytes=1000, max_json_bytes=10, uploads=tmp_path, max_upload_bytes=100_000)
    with (tmp_path / "tmp2").open("wb"):  # another upload that is arriving
        asyncio.run(limited(dict(UPLOAD), receive, send))
        assert sent[0]["status"] == 400
        assert b"expected a form" in sent[1]["body"]
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["moved", "photo.jpg", "tmp2"]
