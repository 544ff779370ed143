"""The named endpoints through gradio_client, against the running app."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from lowrank_demo.models.zoo import Zoo
from tests.helpers.app import RunningApp
from tests.helpers.paths import ROOT
from tests.helpers.photos import photo_path

V5 = "bundled/scheme_2/v5"


@pytest.fixture(scope="module")
def client(app: RunningApp) -> Iterator[Client]:
    client = Client(app.url, verbose=False)
    yield client
    client.close()


def test_endpoints(client: Client) -> None:
    described = client.view_api(return_format="dict", print_info=False)
    assert isinstance(described, dict)
    named = described["named_endpoints"]
    assert set(named) == {
        "/classify",
        "/ranks",
        "/pareto",
        "/models",
        "/validate",
        "/validation_status",
        "/cancel_validation",
    }
    for endpoint in named.values():
        assert endpoint["description"]
        for parameter in endpoint["parameters"]:
            assert parameter["label"] == parameter["parameter_name"]
            assert parameter["python_type"]["description"].endswith(".")


def test_classify(client: Client) -> None:
    files = [handle_file(str(photo_path(name))) for name in ("lion.jpg", "tower.jpg")]
    lion, tower = client.predict(files=files, model=V5, api_name="/classify")
    assert (lion["file"], tower["file"]) == ("lion.jpg", "tower.jpg")
    assert "lion" in [guess["name"] for guess in lion["top"]]
    for photo in (lion, tower):
        assert set(photo) == {"file", "top", "decoder", "device", "timings_ms"}
        assert len(photo["top"]) == 5
        assert all(set(guess) == {"index", "synset", "name", "probability"} for guess in photo["top"])
        probabilities = [guess["probability"] for guess in photo["top"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert photo["timings_ms"]["decode"] > 0


def http_classify(app: RunningApp, files: object) -> str:
    """Ask as plain HTTP does, and return the stream of events."""
    body = json.dumps({"data": [files, V5]}).encode()
    request = urllib.request.Request(f"{app.url}/gradio_api/call/classify", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        event = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{app.url}/gradio_api/call/classify/{event}", timeout=30) as stream:
        return stream.read().decode()


def test_one_file_needs_no_list(client: Client, app: RunningApp) -> None:
    lion = photo_path("lion.jpg")
    (alone,) = client.predict(files=handle_file(str(lion)), model=V5, api_name="/classify")
    (listed,) = client.predict(files=[handle_file(str(lion))], model=V5, api_name="/classify")
    assert (alone["file"], alone["top"]) == ("lion.jpg", listed["top"])
    address = "data:image/jpeg;base64," + base64.b64encode(lion.read_bytes()).decode()
    for sent in (address, [address], {"path": address}):
        assert '"name": "lion"' in http_classify(app, sent)


META = {"meta": {"_type": "gradio.FileData"}}
BASE64 = base64.b64encode(photo_path("lion.jpg").read_bytes()).decode()


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ([BASE64], "expected at most 10,000, or a photo as data:image/jpeg;base64,"),
        (BASE64, "expected at most 10,000, or a photo as data:image/jpeg;base64,"),
        (["lion.jpg"], "not uploaded here; expected"),
        # Gradio answered these itself: with the whole of the base64, and with the folder that the server runs in.
        ([{"path": f"data:image/jpeg;base64,{BASE64}", **META}], "not uploaded here; expected"),
        ([{"path": "", "url": f"data:image/jpeg;base64,{BASE64}", **META}], "not uploaded here; expected"),
        ([{"data": BASE64, "name": "lion.jpg"}], "expected at most 10,000, or a photo as data:image/jpeg;base64,"),
        (["data:image/jpeg;base64,###"], "is not base64"),
        ([["lion.jpg"]], "not uploaded here; expected"),
        (None, "files is null; expected a list of photos."),
        (7, "files is 7; expected a list of photos."),
    ],
)
def test_what_is_no_file_gets_one_sentence(app: RunningApp, sent: object, sentence: str) -> None:
    answer = http_classify(app, sent)
    assert "event: error" in answer
    assert sentence in answer
    assert len(answer) < 400
    assert str(ROOT) not in answer


def test_models_ranks_pareto(client: Client, zoo: Zoo) -> None:
    models = client.predict(api_name="/models")
    assert [model["id"] for model in models] == [*(card.id for card in zoo), "own/scheme_2/mine"]
    ranks = client.predict(model="scheme_1/v2", api_name="/ranks")
    assert [layer["rank"] for layer in ranks["layers"]] == [27, 33, 82, 71, 87, 760, 586, 344]
    assert client.predict(api_name="/pareto")["reference"]["mflops"] == 724


def test_bad_requests_get_one_sentence(client: Client, tmp_path: Path) -> None:
    lion = handle_file(str(photo_path()))
    for call, sentence in (
        (lambda: client.predict(files=[lion], model="scheme_9/v1", api_name="/classify"), 'no model "scheme_9/v1"'),
        (lambda: client.predict(model="x", api_name="/ranks"), 'no model "x"'),
        (lambda: client.predict(file="long.lmdb", models=["no/such"], api_name="/validate"), 'no model "no/such"'),
        (lambda: client.predict(files=[lion] * 65, model=V5, api_name="/classify"), "at most 64"),
    ):
        with pytest.raises(AppError, match=sentence) as caught:
            call()
        assert "Traceback" not in str(caught.value)
    bad = tmp_path / "text.jpg"
    bad.write_text("not a photo")
    empty = tmp_path / "empty.png"
    empty.touch()
    files = [handle_file(str(path)) for path in (bad, empty, photo_path())]
    text, nothing, good = client.predict(files=files, model=V5, api_name="/classify")
    assert "is a text" in text["error"]
    assert "empty" in nothing["error"]
    assert good["top"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../etc/passwd", "assets/zoo.json", "/proc/self/environ"])
def test_no_server_file_is_read_for_a_visitor(app: RunningApp, path: str) -> None:
    try:
        answer = http_classify(app, [{"path": path, **META}])
    except urllib.error.HTTPError as error:
        answer = f"event: error {error.code}"
    assert "event: error" in answer
    assert "event: complete" not in answer
    assert "root:" not in answer


def test_published_model_downloads_once_and_serves(client: Client, app: RunningApp) -> None:
    results = []
    lion = handle_file(str(photo_path()))

    def one() -> None:
        results.append(client.predict(files=[lion], model="scheme_2/v5", api_name="/classify"))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(result[0]["top"] == results[0][0]["top"] for result in results)
    weights = {model["id"]: model["weights"] for model in client.predict(api_name="/models")}
    assert weights["published/scheme_2/v5"] == "cached"


def wait_for(client: Client, job: str, condition: Callable[[dict], bool]) -> dict:
    deadline = time.monotonic() + 60
    while not condition(status := client.predict(job=job, api_name="/validation_status")):
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


def test_validation(client: Client) -> None:
    started = client.predict(file="sample-photos.lmdb", models=[V5], api_name="/validate")
    status = wait_for(client, started["job"], lambda s: s["state"] == "done")
    report = status["report"]
    assert (report["count"], report["unreadable"], report["complete"]) == (3, 0, True)
    (model,) = report["models"]
    assert model["id"] == V5
    assert model["count"] == 3


def test_validation_waits_and_is_cancelled(client: Client) -> None:
    jobs = [client.predict(file="long.lmdb", models=[V5], api_name="/validate")["job"] for _ in range(2)]
    running = wait_for(client, jobs[0], lambda s: bool(s["results"]))
    assert running["progress"]["total"] == 2000
    assert running["progress"]["seconds_left"] > 0
    assert client.predict(job=jobs[1], api_name="/validation_status")["place"] == 1
    for job in reversed(jobs):
        client.predict(job=job, api_name="/cancel_validation")
    first = wait_for(client, jobs[0], lambda s: s["state"] == "cancelled")
    assert 0 < first["report"]["count"] < 2000
    assert not first["report"]["complete"]
    assert client.predict(job=jobs[1], api_name="/validation_status")["state"] == "cancelled"


@pytest.mark.parametrize("file", ["/etc/passwd", "../long.lmdb", "nothing.lmdb"])
def test_validation_takes_no_path(client: Client, file: str) -> None:
    with pytest.raises(AppError, match=r"expected one of: long\.lmdb, sample-photos\.lmdb"):
        client.predict(file=file, models=[V5], api_name="/validate")


def test_a_guessed_job(client: Client) -> None:
    for endpoint in ("/validation_status", "/cancel_validation"):
        with pytest.raises(AppError, match="no validation with this id"):
            client.predict(job="1", api_name=endpoint)
