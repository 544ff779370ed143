"""A pytest plugin that says at once what becomes of each test, for ``make gpu``: a step that is cut off loses nothing.

It writes lines of JSON to the descriptor ``--stream-to``, each a test's name and a text, or its seconds once it ended.
"""

from __future__ import annotations

import json
from collections import defaultdict

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stream-to", type=int, metavar="DESCRIPTOR")


def pytest_configure(config: pytest.Config) -> None:
    # Workers of pytest-xdist get the option, but not the descriptor: the controller hears what they report.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Stream(config.option.stream_to))


class _Stream:
    def __init__(self, descriptor: int) -> None:
        self._file = open(descriptor, "w", buffering=1)  # noqa: SIM115  (open until pytest ends)
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._say(_name(nodeid), "begins")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        self._say_trouble(report)
        if report.when in ("setup", "call"):
            return
        for line in report.capstdout.splitlines():
            if line.strip():
                self._say(_name(report.nodeid), line)
        self._say(_name(report.nodeid), self._seconds[report.nodeid])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._say_trouble(report)

    def _say_trouble(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.passed:
            return
        kind = "skipped" if report.skipped else "failure" if report.when == "call" else "error"
        text = report.longreprtext[-1500:]
        if isinstance(report.longrepr, tuple):  # where and why it was skipped
            text = report.longrepr[2].removeprefix("Skipped: ")
        elif crash := getattr(report.longrepr, "reprcrash", None):
            text = f"{crash.message}\n{text}"
        self._say(f"{_name(report.nodeid)} {kind}", text)

    def _say(self, what: str, value: str | float) -> None:
        print(json.dumps([what, value]), file=self._file)


def _name(nodeid: str) -> str:
    """Return a test's name without its file, and the file alone where it could not be collected."""
    return nodeid.rpartition("::")[2]
