"""The command line as its user runs it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.helpers.paths import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m lowrank_demo`` with these arguments, in the project's folder."""
    return run_module("lowrank_demo", *arguments, **environment)


def run_module(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` with these arguments, in the project's folder."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
