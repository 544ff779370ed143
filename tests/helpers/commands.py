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
    with tempfile.TemporaryDirectory() as name:
        printed, said = Path(name, "stdout"), Path(name, "stderr")
        environment = {**os.environ, **environment}
        process = _FORKS.Process(target=_main, args=(module, arguments, environment, printed, said))
        try:
            process.start()
            process.join()
        finally:
            process.kill()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            [module, *arguments], process.exitcode, printed.read_text(), said.read_text()
        )


def _main(module: str, arguments: tuple[str, ...], environment: dict[str, str], printed: Path, said: Path) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, printed), (2, said)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    if "OMP_NUM_THREADS" in environment:
        import torch  # which read the variable when it was imported, before the test set it

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
