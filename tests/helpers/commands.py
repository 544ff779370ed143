"""The command line as its user runs it: a process of its own.

Importing torch and DALI takes longer than most commands do. The processes are forked from one that has imported both
and has done nothing else, so that a test pays for what it tests.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.helpers.paths import ROOT

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["torch", "safetensors.torch", "lowrank_demo.decode.dali"])


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m lowrank_demo`` with these arguments, in the project's folder."""
    return run_module("lowrank_demo", *arguments, **environment)


def run_module(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` with these arguments, in the project's folder.

    Args:
        module: The name of a package or module.
        *arguments: Its command line.
        **environment: Variables beside those of this process.

    Returns:
        The exit code and what was printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        process = _started(module, arguments, environment, out, err)
        try:
            process.join()
        finally:
            process.kill()
        assert process.exitcode is not None
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, out.read_text(), err.read_text())


def start(*arguments: str, **environment: str) -> BaseProcess:
    """Start ``python -m lowrank_demo`` with these arguments, its output thrown away, as the first of a session."""
    return _started("lowrank_demo", arguments, environment, Path(os.devnull), Path(os.devnull))


def _started(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
) -> BaseProcess:
    process = _FORKS.Process(target=_main, args=(module, arguments, {**os.environ, **environment}, out, err))
    process.start()
    return process


def _main(module: str, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path) -> None:
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    if encoding := environment.get("PYTHONIOENCODING"):  # which Python read when it started
        sys.stdout.reconfigure(encoding=encoding.partition(":")[0], errors="strict")  # pyright: ignore[reportAttributeAccessIssue]
    if "OMP_NUM_THREADS" in environment:
        import torch  # which read the variable when it was imported, before the test set it

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
