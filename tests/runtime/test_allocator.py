"""The allocator's settings, by what the memory of a process does. Of glibc's alone."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="needs glibc"
)

START = "from lowrank_demo.runtime import allocator\n"

ARENAS = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)
def work():
    libc.malloc(1000)
    together.wait()
    together.wait()
for _ in range(5):
    threading.Thread(target=work, daemon=True).start()
together.wait()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
together.wait()
"""

FREED = """
def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
before = megabytes()
data = bytearray(b"x" * 200_000_000)
del data
print(megabytes() - before)
"""


def printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_threads_share_arenas() -> None:
    assert printed(START + ARENAS).count("<heap nr=") > 2, "glibc's own choice"
    for setting, count in (("share_arenas", 2), ("keep_freed_memory", 1)):
        assert printed(START + f"allocator.{setting}()\n" + ARENAS).count("<heap nr=") == count


def test_freed_memory_is_kept() -> None:
    assert float(printed(START + FREED)) < 50, "glibc's own choice"
    assert float(printed(START + "allocator.keep_freed_memory()\n" + FREED)) > 150
