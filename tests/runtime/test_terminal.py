"""Whatever is printed, in any encoding, to any stream: it never ends the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


FILL = """
import subprocess, sys
from lowrank_demo.runtime.terminal import print_anything
print_anything()
print_anything()
for number in range(3):
    print("lost", file=sys.stderr)
print("still here", flush=True)
subprocess.run([sys.executable, "-c", "import sys; sys.exit(sys.stderr.write('child') != 5)"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_standard_error_that_fails_is_no_failure(unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", FILL], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=full, check=True
        )
    assert done.stdout == b"still here\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("place", ["/dev/full", "a pipe that nobody reads"])
def test_a_standard_output_that_fails_is_one_sentence_or_none(unbuffered: str, place: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    if place == "/dev/full":
        target = os.open(place, os.O_WRONLY)
        expected = (2, b"lowrank_demo: The output could not be written (No space left on device).\n")
    else:
        reader, target = os.pipe()
        os.close(reader)
        expected = (0, b"")
    command = [sys.executable, "-m", "lowrank_demo", "models"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=target, stderr=subprocess.PIPE, check=False)
    os.close(target)
    assert (done.returncode, done.stderr) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_drops_what_is_printed(closed: str) -> None:
    subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, PRINT], cwd=ROOT, check=True)


INTERRUPT = r"""
import signal, sys
from lowrank_demo.runtime.terminal import print_anything
print_anything()
printing = False
def interrupt(number, frame):
    global printing
    if printing:
        printing = False
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 1e-3, 2e-4)
number = 0
while number < 3000:
    try:
        printing = True
        while number < 3000:
            number += 1
            sys.stdout.write(f"line {number}\n")
            sys.stdout.flush()
        printing = False
    except KeyboardInterrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGALRM")
def test_a_signal_while_something_is_printed_prints_nothing_twice() -> None:
    command = [sys.executable, "-c", INTERRUPT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(set(lines))
    assert all(line.startswith("line ") for line in lines)
