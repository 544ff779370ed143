"""What a visitor waits for: one photo, several photos, the start of the app."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from lowrank_demo.errors import DataError
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from tests.bench.measure import Outcome, Result

_ROOT = Path(__file__).parents[2]
_START_LIMIT = 300.0


def one_photo(images: list[bytes], repeats: int) -> Iterator[Outcome]:
    """Bytes to top 5 through the service, against decoding and a bare forward pass."""
    service = Service(Settings.from_environment())
    card = service.default_model()
    service.warm_up()
    classifier, decoder = service.networks.get(card, service.machine.device), service.machine.decoder.decoder
    whole: list[float] = []
    bare: list[float] = []
    for i in range(repeats):
        photo = images[i % len(images)]
        began = time.perf_counter()
        service.classify([Photo.from_bytes(photo)], card)
        middle = time.perf_counter()
        classifier.logits(decoder.decode([photo]).pixels)
        whole.append(middle - began)
        bare.append(time.perf_counter() - middle)
    for name, at in (("median", 49), ("95th percentile", 94)):
        a, b = (1e3 * statistics.quantiles(times, n=100)[at] for times in (whole, bare))
        yield Result(f"one photo, {name}", a, b, "ms", "decoding and a bare forward pass", 1.3)
    eight = [Photo.from_bytes(photo) for photo in images[:8]]
    times: list[float] = []
    for _ in range(max(3, repeats // 8)):
        began = time.perf_counter()
        service.classify(eight, card)
        times.append(time.perf_counter() - began)
    together = 1e3 * statistics.median(times)
    yield Result("eight photos in one drop", together, 8e3 * statistics.median(whole), "ms", "eight times one", 1.0)


def start() -> Iterator[Outcome]:
    """From the process's start to the first answer, against importing gradio and torch; and ``--help``."""
    _import_seconds()
    importing = statistics.median(_import_seconds() for _ in range(3))
    serving = statistics.median(_first_answer_seconds() for _ in range(3))
    yield Result("start to the first answer", serving, importing, "s", "python -c 'import gradio, torch'", 1.3)
    shown = statistics.median(_seconds_of("-m", "lowrank_demo", "--help") for _ in range(3))
    yield Result("--help", shown, 0.3, "s", "0.3 s", 1.0)


def _import_seconds() -> float:
    return _seconds_of("-c", "import gradio, torch")


def _seconds_of(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _first_answer_seconds() -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=_ROOT,
        env={**os.environ, "GRADIO_SERVER_PORT": str(port)},
        stdout=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and time.perf_counter() - began < _START_LIMIT:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
            else:
                return time.perf_counter() - began
        raise DataError("The app did not start; run python app.py to see why.")
    finally:
        process.terminate()
        process.wait()
