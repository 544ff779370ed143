"""Downloads from a real HTTP server: verified, resumed, refused, and quick errors without a network."""

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from lowrank_demo.errors import WeightsRefused, WeightsUnavailable
from lowrank_demo.models.download import download
from lowrank_demo.models.transfer import DownloadProgress
from tests.helpers.app import free_port
from tests.helpers.server import FileServer
from tests.helpers.slack import SLACK

CONTENT = os.urandom(5_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
LIMIT = 6_000_000


@pytest.fixture
def address(file_server: FileServer) -> str:
    (file_server.folder / "weights").write_bytes(CONTENT)
    return f"{file_server.url}/weights"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.th"


def test_whole_file_with_progress(address: str, target: Path) -> None:
    seen: list[DownloadProgress] = []
    assert download(address, target, sha256=DIGEST[:8], max_bytes=LIMIT, on_progress=seen.append) == DIGEST
    assert target.read_bytes() == CONTENT
    assert seen[-1].bytes_done == seen[-1].bytes_total == len(CONTENT)
    assert seen[-1].seconds_left == 0
    assert not list(target.parent.glob("*.part"))


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_is_resumed(address: str, target: Path, file_server: FileServer, ranges: bool) -> None:
    file_server.cut_after = 2_000_000
    with pytest.raises(WeightsUnavailable, match="try again"):
        download(address, target, sha256=DIGEST, max_bytes=LIMIT)
    assert not target.exists()
    file_server.cut_after, file_server.ignore_ranges = None, not ranges
    download(address, target, sha256=DIGEST, max_bytes=LIMIT)
    assert target.read_bytes() == CONTENT
    assert file_server.requests[-1][1] == "bytes=2000000-"


def test_a_download_that_drips_ends(
    address: str, target: Path, file_server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowrank_demo.models.transfer.DOWNLOAD_SECONDS", 0.5)
    file_server.seconds_for_each_mb = 0.4
    with pytest.raises(WeightsUnavailable, match="try again: it continues where it stopped"):
        download(address, target, sha256=DIGEST, max_bytes=LIMIT)
    file_server.seconds_for_each_mb = 0
    download(address, target, sha256=DIGEST, max_bytes=LIMIT)
    assert target.read_bytes() == CONTENT


def test_a_stopped_download_is_resumed(address: str, target: Path, file_server: FileServer) -> None:
    class Stop(Exception):
        pass

    def stop(_: DownloadProgress) -> None:
        raise Stop

    with pytest.raises(Stop):
        download(address, target, sha256=DIGEST, max_bytes=LIMIT, on_progress=stop)
    assert not target.exists()
    download(address, target, sha256=DIGEST, max_bytes=LIMIT)
    assert target.read_bytes() == CONTENT


def test_the_start_of_another_file_is_replaced(address: str, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(target.name + ".part").write_bytes(b"x" * 1000)
    download(address, target, sha256=DIGEST, max_bytes=LIMIT)
    assert target.read_bytes() == CONTENT


def test_a_complete_part_needs_no_bytes(address: str, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(target.name + ".part").write_bytes(CONTENT)
    download(address, target, sha256=DIGEST, max_bytes=LIMIT)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"<!doctype html><p>Log in", "web page"), (CONTENT[:-1] + b"?", "expected"), (CONTENT * 2, "larger")],
    ids=["page", "damaged", "larger"],
)
def test_another_file_is_refused(
    address: str, target: Path, file_server: FileServer, content: bytes, sentence: str
) -> None:
    (file_server.folder / "weights").write_bytes(content)
    with pytest.raises(WeightsRefused, match=sentence):
        download(address, target, sha256=DIGEST[:8], max_bytes=LIMIT)
    assert not target.exists()
    assert not list(target.parent.glob("*.part"))


def test_missing_file(address: str, target: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="404"):
        download(address + "-not-there", target, sha256=DIGEST, max_bytes=LIMIT)


def test_without_a_network_the_error_comes_within_three_seconds(target: Path) -> None:
    with socket.socket() as full:
        # A listener whose queue is full accepts no connection, like a host that drops all packets.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        silent = f"http://127.0.0.1:{full.getsockname()[1]}/weights"
        closed = f"http://127.0.0.1:{free_port()}/weights"
        for url in (silent, closed, "http://name.invalid/weights"):
            began = time.monotonic()
            with pytest.raises(WeightsUnavailable, match=r"reached|answer") as caught:
                download(url, target, sha256=DIGEST, max_bytes=LIMIT)
            assert "Errno" not in str(caught.value)
            assert time.monotonic() - began < 3 * SLACK
        for client in clients:
            client.close()
