"""Whatever is printed, in any encoding, to any stream: it never ends the program."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

PRINT = """
import subprocess, sys
from lowrank_demo.runtime.terminal import print_anything
print_anything()
print("λ caf\\udce9")
print("λ caf\\udce9", file=sys.stderr)
subprocess.run([sys.executable, "-c", "import sys; sys.stdout.write('child'); sys.stderr.write('child')"], check=True)
"""


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", b"\\u03bb caf\\udce9"),
        ("latin-1", b"\\u03bb caf\\udce9"),
        ("utf-8:strict", "λ caf\\udce9".encode()),
        ("cp1252", b"\\u03bb caf\\udce9"),
    ],
)
def test_what_an_encoding_lacks_is_escaped(encoding: str, printed: bytes) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", PRINT], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert printed in done.stdout
    assert done.stderr.startswith(printed)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_drops_what_is_printed(closed: str) -> None:
    subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, PRINT], cwd=ROOT, check=True)
