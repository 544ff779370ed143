"""What the running server keeps of requests that are over: next to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.faults import load
from tests.faults.client import ApiClient
from tests.helpers.app import RunningApp, running_app
from tests.helpers.photos import photo_path

MODEL = "bundled/scheme_2/v5"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = tmp_path_factory.mktemp("kept")
    environment = {"LOWRANK_CACHE_DIR": str(folder / "cache"), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    with running_app(environment, folder / "log") as running:
        load.wait_for_rest(running.process.pid)
        yield running


def test_photos_sent_as_data(server: RunningApp) -> None:
    """Gradio kept the values of every session, and the allocator the memory of the bodies: 1.4 GB, then 8 GB."""
    data = {"path": "data:image/jpeg;base64," + "A" * 33_000_000}

    def send(_: int) -> str:
        with ApiClient(server.url) as client:
            return client.call("classify", [data], MODEL)[0]["error"]

    send(0)
    before = load.resident_mb(server.process.pid)
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(send, range(24)))
    kept = load.resident_mb(server.process.pid) - before
    print(f"{kept:.0f} MB of {24 * 33} MB")
    assert all("expected a JPEG" in sentence for sentence in said)
    assert kept < 350


def test_bodies_that_are_refused(server: RunningApp) -> None:
    before = load.resident_mb(server.process.pid)
    for _ in range(8):
        answer = httpx.post(f"{server.url}/gradio_api/call/classify", content=b" " * 100_000_000, timeout=60)
        assert answer.status_code == 413
    kept = load.resident_mb(server.process.pid) - before
    print(f"{kept:.0f} MB of 800 MB")
    assert kept < 100


@pytest.mark.parametrize("count", [16, pytest.param(64, marks=pytest.mark.long)])
def test_answers_that_nobody_reads(count: int, server: RunningApp) -> None:
    with ApiClient(server.url) as client:
        path = client.upload("photo.jpg", photo_path().read_bytes())
    config = httpx.get(f"{server.url}/config").json()
    ids = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
    listener = next(
        one
        for one in config["dependencies"]
        if ids["lr-photos"] in one["inputs"] and ids["lr-results"] in one["outputs"]
    )
    photos = [{"image": {"path": path, "meta": {"_type": "gradio.FileData"}}, "caption": None}] * count
    queue = f"{server.url}/gradio_api/queue"

    def ask(session: str) -> None:
        body = {"data": [photos, MODEL], "fn_index": listener["id"], "session_hash": session}
        assert httpx.post(f"{queue}/join", json=body, timeout=60).status_code == 200

    def fetched(session: str) -> int:
        with httpx.stream("GET", f"{queue}/data?session_hash={session}", timeout=120) as stream:
            line = next(line for line in stream.iter_lines() if "process_completed" in line)
        assert "lr-results" in line
        return len(line)

    ask("warm")
    size = fetched("warm")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, [f"first-{i}" for i in range(4)]))
    ask("then")
    fetched("then")
    before = load.resident_mb(server.process.pid)
    for i in range(8):
        ask(f"unread-{i}")
    ask("last")
    fetched("last")
    kept = load.resident_mb(server.process.pid) - before
    print(f"{kept:.0f} MB after 8 answers of {size / 1e6:.2f} MB that nobody read")
    assert size < 11_000 * count
    assert kept < 60


@pytest.mark.parametrize("job", ["an id of the process before this one", ""])
def test_a_page_that_waited_is_told_of_a_restart(job: str, server: RunningApp) -> None:
    config = httpx.get(f"{server.url}/config").json()
    ticks = [one for one in config["dependencies"] if any(event == "tick" for _, event in one["targets"])]
    tick = next(one for one in ticks if one["backend_fn"])
    with ApiClient(server.url) as client:
        answer = client.listen(tick["id"], json.dumps([job, *[None] * (len(tick["inputs"]) - 1)]))
    assert "process_completed" in answer
    assert ("The server was restarted; the validation was lost. Start it again." in answer) == bool(job)
