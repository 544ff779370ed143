"""Packages that a test needs and the program's environment must not have: each set in a folder of its own.

The folders lie in the user's cache, are named by the Python version and what is in them, and serve later runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

import pytest
from filelock import FileLock

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lowrank-alexnet-tests"


def installed(name: str, requirements: Sequence[str], constraints: Sequence[str] = ()) -> Path:
    """Return a folder for PYTHONPATH with these packages and what they need; install them unless a run before did.

    Skips the test where they cannot be installed.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256("\n".join([*requirements, "", *constraints]).encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{version}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            (part / "constraints.txt").write_text("\n".join(constraints))
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            command += ["--target", str(part), "-c", str(part / "constraints.txt"), *requirements]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"{name} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
            part.rename(folder)
    return folder


def as_here(*changing: str) -> list[str]:
    """Return constraints that keep every package at its version here, but for those whose names begin so."""
    here = {f"{found.metadata['Name']}=={found.version}" for found in distributions()}
    return sorted(line for line in here if not line.lower().startswith(changing))


MCP = (["mcp>=1.21,<2", "pydantic<2.12.6"], as_here("pydantic", "torch", "lowrank-demo"))
"""What :func:`installed` needs for the extra ``mcp``, whose pydantic is older than the one here."""
