"""The app as a Space runs it: not root, only the home folder and /tmp writable, no network, nothing contacted."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.faults.client import ApiClient, Refused
from tests.helpers.app import running_app
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.paths import ROOT
from tests.helpers.photos import photo_path

pytestmark = pytest.mark.spread


def front_matter() -> dict[str, str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert match
    return dict(re.findall(r"^(\w+): *(.+)$", match[1], re.MULTILINE))


def test_space_front_matter() -> None:
    fields = front_matter()
    required = {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file"}
    assert required <= set(fields)
    assert fields["sdk"] == "gradio"
    assert (ROOT / fields["app_file"]).is_file()
    assert len(fields["short_description"]) <= 60
    pinned = re.search(r"^gradio==(\d+\.\d+)\.", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert fields["sdk_version"].strip('"').startswith(pinned[1] + ".")


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to become another user")
def test_as_a_user_who_may_write_only_home_and_tmp(tmp_path: Path) -> None:
    home = Path("/tmp") / f"lowrank-space-{os.getpid()}"
    home.mkdir()
    os.chown(home, 12345, 12345)
    # The interpreter may lie in a folder of root's: reading everything is allowed, writing is not.
    capability = "-all,+dac_read_search"
    user = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", f"--inh-caps={capability}"]
    user += [f"--ambient-caps={capability}", f"--bounding-set={capability}"]
    environment = {
        "HOME": str(home),
        "GRADIO_TEMP_DIR": str(home / "uploads"),
        "LOWRANK_CACHE_DIR": "",
        "XDG_CACHE_HOME": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        with running_app(environment, tmp_path / "log", [*user, sys.executable, "app.py"]) as running:
            client = Client(running.url, verbose=False)
            (answer,) = client.predict(files=[handle_file(str(photo_path()))], model="", api_name="/classify")
            assert len(answer["top"]) == 5
            client.close()
    finally:
        shutil.rmtree(home)


def test_start_up_contacts_nothing(tmp_path: Path) -> None:
    """Every connection and look-up that leaves this machine is refused and recorded."""
    guard = tmp_path / "sitecustomize.py"
    record = tmp_path / "contacted"
    guard.write_text(
        "import socket\n"
        "real = socket.getaddrinfo\n"
        "def only_here(host, *args, **kwargs):\n"
        "    if host not in ('127.0.0.1', 'localhost', '0.0.0.0', None, ''):\n"
        f"        open({str(record)!r}, 'a').write(str(host) + '\\n')\n"
        "        raise OSError('no network')\n"
        "    return real(host, *args, **kwargs)\n"
        "socket.getaddrinfo = only_here\n"
    )
    with (
        running_app({"PYTHONPATH": str(tmp_path)}, tmp_path / "log") as running,
        urllib.request.urlopen(running.url, timeout=10) as page,
    ):
        assert b"Low-rank AlexNet" in page.read()
    assert not record.exists(), record.read_text()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("LOWRANK_DECODER", "abacus", 'is "abacus"; expected "auto", "dali-gpu", "dali-cpu" or "pillow"'),
        # Known once torch and DALI are asked: the app served an error for every photo.
        ("LOWRANK_DEVICE", "cuda:99", r"is cuda:99, but torch finds \d+ GPUs?; set it to auto or cpu"),
        ("LOWRANK_DECODER", "dali-gpu", r"is dali-gpu, which does not work here \(no GPU in use\); set it to auto"),
    ],
)
def test_a_bad_setting_is_one_sentence(variable: str, value: str, sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, "LOWRANK_DEVICE": "cpu", variable: value},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1
    assert re.fullmatch(rf"lowrank_demo: {variable} {sentence}\.", done.stderr.strip())


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_app_that_is_ended_leaves_no_temporary_files(tmp_path: Path, number: signal.Signals) -> None:
    temporary, photos = tmp_path / "tmp", io.BytesIO()
    temporary.mkdir()
    with zipfile.ZipFile(photos, "w") as archive:
        archive.writestr("lion/1.jpg", photo_path("lion.jpg").read_bytes())
    environment = {"TMPDIR": str(temporary), "GRADIO_TEMP_DIR": str(tmp_path / "left")}
    with running_app(environment, tmp_path / "log") as running, ApiClient(running.url) as client:
        client.press("on_upload", {"path": client.upload("set.zip", photos.getvalue())})
        deadline = time.monotonic() + 60
        while not list((tmp_path / "left").glob("*/sets/*.lmdb")):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        running.process.send_signal(number)
        running.process.wait(60)
    assert not list((tmp_path / "left").iterdir())
    assert not list(temporary.glob("lowrank-*"))
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_an_app_that_is_ended_while_it_warms_up_ends_cleanly(tmp_path: Path) -> None:
    """Python ended under the warm-up's feet: a traceback of DALI's, or an abort."""
    with running_app({}, tmp_path / "log") as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) in (0, 130)
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "terminate called" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_an_app_that_is_ended_while_it_works_ends_cleanly(tmp_path: Path) -> None:
    """Visitors send photos and a validation runs: Python once ended while DALI still decoded, and aborted."""
    photo, over = photo_path().read_bytes(), threading.Event()

    def visit() -> None:
        with ApiClient(running.url) as client, contextlib.suppress(httpx.HTTPError, Refused):
            while not over.is_set():
                client.classify(photo)

    build_long_lmdb(tmp_path / "long.lmdb", 6000)
    environment = {"LOWRANK_CACHE_DIR": str(tmp_path / "cache"), "LOWRANK_LMDB_DIR": str(tmp_path)}
    with running_app(environment, tmp_path / "log") as running:
        visitors = [threading.Thread(target=visit) for _ in range(6)]
        with ApiClient(running.url) as client:
            client.classify(photo)
            ready = next(model["id"] for model in client.call("models") if model["weights"] == "bundled")
            client.call("validate", "long.lmdb", [ready])
        for visitor in visitors:
            visitor.start()
        time.sleep(1)
        running.process.send_signal(signal.SIGTERM)
        try:
            assert running.process.wait(60) == 0
        finally:
            over.set()
            for visitor in visitors:
                visitor.join()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "terminate called" not in said
