"""One file from the Hub, by its own client, from a stand-in that redirects to another host as the Hub does."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from lowrank_demo.errors import WeightsRefused, WeightsUnavailable
from lowrank_demo.models.hub import fetch_from_hub
from lowrank_demo.models.transfer import DownloadProgress
from tests.helpers.app import free_port
from tests.helpers.hub import StandInHub
from tests.helpers.slack import SLACK

NAME = "weights.safetensors"
CONTENT = os.urandom(3_000_000)
LIMIT = 4_000_000


@pytest.fixture(autouse=True)
def endpoint(hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(hub.url, monkeypatch)
    # Pieces of this size are written one by one.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500_000)
    hub.files[NAME] = CONTENT


def ask(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_the_digest_stands_on_the_first_answer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], hub: StandInHub
) -> None:
    seen: list[DownloadProgress] = []
    digest = fetch_from_hub("owner/models", NAME, tmp_path / "new", max_bytes=LIMIT, on_progress=seen.append)
    assert digest == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "new" / NAME).read_bytes() == CONTENT
    assert (seen[-1].bytes_done, seen[-1].bytes_total, seen[-1].seconds_left) == (len(CONTENT), len(CONTENT), 0)
    assert capfd.readouterr() == ("", ""), "the client's own progress bar stays hidden"


def test_a_stopped_download_is_resumed(tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(_: DownloadProgress) -> None:
        raise Stop

    monkeypatch.setattr("lowrank_demo.models.transfer._REPORT_SECONDS", -1)
    with pytest.raises(Stop):
        fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=LIMIT, on_progress=stop)
    assert not (tmp_path / NAME).exists()
    fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=LIMIT)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_download_that_takes_too_long_is_resumed(
    tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowrank_demo.models.transfer.DOWNLOAD_SECONDS", -1)
    with pytest.raises(WeightsUnavailable, match="try again: it continues where it stopped"):
        fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=LIMIT)
    assert not (tmp_path / NAME).exists()
    monkeypatch.undo()
    ask(hub.url, monkeypatch)
    fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=LIMIT)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_what_is_refused(tmp_path: Path, hub: StandInHub) -> None:
    with pytest.raises(WeightsRefused, match=r"larger than the 0 MB that its model needs"):
        fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=400_000)
    hub.states_digests = False
    with pytest.raises(WeightsRefused, match="states no SHA-256"):
        fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=LIMIT)
    assert hub.starts == [], "nothing was downloaded"
    hub.states_digests, hub.stated = True, "0" * 64
    with pytest.raises(WeightsRefused, match=r"expected 0000000000000000…, so it was not kept"):
        fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=LIMIT)
    assert not (tmp_path / NAME).exists()


def test_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        WeightsUnavailable, match=r"^no of the Hub repository owner/models .*\(the repository has no such"
    ):
        fetch_from_hub("owner/models", "no", tmp_path, max_bytes=LIMIT)
    for url in (f"http://127.0.0.1:{free_port()}", "http://name.invalid"):
        ask(url, monkeypatch)
        began = time.monotonic()
        with pytest.raises(WeightsUnavailable, match=r"could not be downloaded \([^()\n]+\)\.$"):
            fetch_from_hub("owner/models", NAME, tmp_path, max_bytes=LIMIT)
        assert time.monotonic() - began < 6 * SLACK
