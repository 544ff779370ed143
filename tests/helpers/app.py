"""The app as its user starts it: a process."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.paths import ROOT


@dataclasses.dataclass(frozen=True)
class RunningApp:
    """An app that answers at ``url``."""

    url: str
    process: subprocess.Popen[str]


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running_app(environment: dict[str, str], log: Path, command: list[str] | None = None) -> Iterator[RunningApp]:
    """Start ``app.py`` as its user would, wait until it answers, and end it in the end.

    Args:
        environment: Variables beside those of this process.
        log: File for what the app prints.
        command: What starts it, if not ``python app.py``.

    Raises:
        AssertionError: It did not answer within two minutes; with what it printed.
    """
    port = free_port()
    env = {**os.environ, **environment, "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            command or [sys.executable, "app.py"], cwd=ROOT, env=env, stdout=output, stderr=output, text=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not _answers(url):
            assert process.poll() is None, f"the app ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"the app does not answer:\n{log.read_text()}"
            time.sleep(0.1)
        yield RunningApp(url, process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True
