"""What the tests share: real photos, a real file server, a real app process, a clean environment."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest
import torch
from gradio.media import get_image
from hypothesis import strategies as st
from PIL import Image

from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.data.lmdb.writer import LmdbWriter
from lowrank_demo.models.cards import Zoo, read_zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.settings import ASSETS, Settings
from lowrank_demo.validate.report import Conditions

ROOT = Path(__file__).parent.parent
FILES = Path(__file__).parent / "files"
CONDITIONS = Conditions("pillow", "cpu", "torch", "fp32")
SHARED_LMDB = ROOT.parent / "shared" / "data" / "imagenette_400.lmdb"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("LOWRANK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOWRANK_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"LOWRANK_CACHE_DIR": str(tmp_path / "cache")})


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return read_zoo(ASSETS / "zoo.json")


@pytest.fixture(scope="session")
def published_models() -> list[dict]:
    return json.loads((FILES / "published_models.json").read_text())["models"]


def photo_path(name: str = "lion.jpg") -> Path:
    return Path(get_image(name))


def open_photo(name: str = "cheetah.jpg") -> Image.Image:
    return Image.open(photo_path(name)).convert("RGB")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class FileServer:
    """A real HTTP server for one folder that honours ranges, counts requests and can misbehave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.cut_after: int | None = None
        """Close the connection after so many bytes of a body."""
        self.stall_after: int | None = None
        """Keep the connection open and send nothing more after so many bytes of a body."""
        self.seconds_for_each_mb = 0.0
        self.ignore_ranges = False
        self.headers: dict[str, str] = {}
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, owner: FileServer, *args: object) -> None:
        self.owner = owner
        super().__init__(*args, directory=str(owner.folder))  # pyright: ignore[reportArgumentType]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.owner.requests.append((self.path, wanted))
        path = self.owner.folder / self.path.lstrip("/").split("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        start = int(match[1]) if match and not self.owner.ignore_ranges else 0
        if start >= len(data) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        for name, value in self.owner.headers.items():
            self.send_header(name, value)
        self.end_headers()
        limits = [start + n for n in (self.owner.cut_after, self.owner.stall_after) if n is not None]
        end = min([len(data), *limits])
        for at in range(start, end, 1_000_000):
            self.wfile.write(data[at : min(end, at + 1_000_000)])
            time.sleep(self.owner.seconds_for_each_mb)
        if self.owner.stall_after is not None:
            self.owner.closing.wait()
        self.close_connection = True

    def handle(self) -> None:
        # The other side may leave whenever it likes.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[FileServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    server = FileServer(folder)
    yield server
    server.close()


@pytest.fixture(scope="session")
def pickled(tmp_path_factory: pytest.TempPathFactory, zoo: Zoo) -> Path:
    """A state_dict of scheme_2/v5 in the original release's format: a pickle made by ``torch.save``."""
    card = zoo.get("published/scheme_2/v5")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / card.weights.file
    torch.save(LowRankAlexNet(card.scheme, card.ranks).state_dict(), path)
    return path


def zoo_with(folder: Path, changes: dict[str, dict]) -> Path:
    """A copy of the zoo in ``folder`` with the ``weights`` of some models changed; bundled weights are linked."""
    data = json.loads((ASSETS / "zoo.json").read_text())
    for model in data["models"]:
        model["weights"].update(changes.get(f"{model['family']}/{model['scheme']}/{model['version']}", {}))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "zoo.json"
    path.write_text(json.dumps(data))
    (folder / "weights").symlink_to(ASSETS / "weights")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def served_settings(settings: Settings, file_server: FileServer, pickled: Path, tmp_path: Path) -> Settings:
    """Settings whose published/scheme_2/v5 is served by ``file_server`` with its 8 published digits."""
    (file_server.folder / pickled.name).write_bytes(pickled.read_bytes())
    weights = {"url": f"{file_server.url}/{pickled.name}", "sha256": sha256(pickled)[:8]}
    return dataclasses.replace(settings, zoo=zoo_with(tmp_path / "zoo", {"published/scheme_2/v5": weights}))


@dataclasses.dataclass
class RunningApp:
    url: str
    process: subprocess.Popen[str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_app(environment: dict[str, str], log: Path, command: list[str] | None = None) -> RunningApp:
    """Start ``app.py`` as its user would and wait until it answers."""
    port = free_port()
    env = {**os.environ, **environment, "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            command or [sys.executable, "app.py"], cwd=ROOT, env=env, stdout=output, stderr=output, text=True
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return RunningApp(url, process)
    process.kill()
    raise AssertionError(f"the app did not start:\n{log.read_text()}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
"""Any JSON value."""

HISTORY: dict[str, Any] = {
    "format": 1,
    "scheme": "scheme_2",
    "criterion": "flops",
    "lambda": 2.5e-5,
    "layers": ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"],
    "steps": [
        {
            "step": 0,
            "mu": 1.0,
            "ranks": [20, 80, 150, 150, 150, 900, 700, 500],
            "macs": 300_000_000,
            "top1_error": 60.5,
        },
        {"step": 1, "mu": 2.0, "ranks": [9, 40, 90, 95, 110, 700, 500, 300], "macs": 200_000_000, "top1_error": 58.0},
        {"step": 2, "mu": 4.0, "ranks": [7, 28, 69, 71, 88, 506, 349, 255], "macs": 151_530_368},
    ],
}
"""What ``train compress`` writes, its last step under way."""


def own_model(folder: Path) -> Path:
    """A folder with a model of one's own as ``train finetune`` leaves it, rank history and all."""
    folder.mkdir()
    zoo = json.loads((ASSETS / "zoo.json").read_text())
    card = next(model for model in zoo["models"] if model["family"] == "preview" and model["version"] == "v5")
    (folder / "own.safetensors").write_bytes((ASSETS / card["weights"]["file"]).read_bytes())
    card |= {"family": "own", "version": "mine", "history": "own.history.json"}
    card["weights"]["file"] = "own.safetensors"
    (folder / "own.card.json").write_text(json.dumps(card))
    (folder / "own.history.json").write_text(json.dumps(HISTORY))
    return folder


def build_long_lmdb(path: Path, count: int) -> None:
    """A file that takes a while to validate: few distinct photos, many labels."""
    photo = open_photo("tower.jpg").resize((256, 300))
    variants = [encoded(photo.rotate(angle), "JPEG") for angle in range(0, 80, 10)]
    with LmdbWriter(path) as writer:
        for i in range(count):
            writer.put(Record(variants[i % len(variants)], i % 1000))


def raw_lmdb(path: Path, values: dict[bytes, bytes], subdir: bool = False) -> Path:
    """An LMDB file of whatever content."""
    environment = lmdb.open(str(path), subdir=subdir, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    environment.close()
    return path


def keys_of(count: int) -> bytes:
    """The list of keys that a file of so many records has."""
    packed = msgpack.packb([b"%08d" % i for i in range(count)], use_bin_type=True)
    assert packed
    return packed


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, pickled: Path) -> Iterator[RunningApp]:
    """The app, with published/scheme_2/v5 on a local server and an LMDB file that takes a while."""
    folder = tmp_path_factory.mktemp("app")
    server = FileServer(pickled.parent)
    weights = {"url": f"{server.url}/{pickled.name}", "sha256": sha256(pickled)[:8]}
    zoo_path = zoo_with(folder / "zoo", {"published/scheme_2/v5": weights})
    (folder / "lmdb").mkdir()
    build_long_lmdb(folder / "lmdb" / "long.lmdb", 2000)
    environment = {
        "LOWRANK_CACHE_DIR": str(folder / "cache"),
        "LOWRANK_LMDB_DIR": str(folder / "lmdb"),
        "LOWRANK_ZOO": str(zoo_path),
        "LOWRANK_MODELS_DIR": str(own_model(folder / "models")),
    }
    running = start_app(environment, folder / "log")
    yield running
    running.process.terminate()
    running.process.wait(20)
    server.close()
