"""A command whose standard error is a terminal, so that it shows its progress often, and can be stopped under way."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence

from tests.helpers.paths import ROOT


def stopped_under_way(
    arguments: Sequence[str], env: Mapping[str, str], number: signal.Signals = signal.SIGINT, times: int = 1
) -> tuple[int, str, str]:
    """Press Ctrl-C, close the terminal (SIGHUP), or send another signal, once some images are done.

    Args:
        arguments: Of the program.
        env: Added to the environment.
        number: The signal.
        times: How often to press Ctrl-C, a tenth of a second apart.

    Returns:
        Exit code, output, and what the terminal showed.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lowrank_demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        # So that it is the terminal that sends the signal, and to every process that was started from there.
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    said, sent = "", False
    while part := read_screen(ours):
        said += part
        if not sent and re.search(r"[1-9][\d,]* of [\d,]+ images", said):
            if number == signal.SIGHUP:
                break
            if number == signal.SIGINT:
                for _ in range(times):
                    os.write(ours, b"\x03")
                    time.sleep(0.1)
            else:
                process.send_signal(number)
            sent = True
    os.close(ours)
    out, _ = process.communicate()
    watchdog.cancel()
    return process.returncode, out, said


def read_screen(terminal: int) -> str:
    """What was written to a terminal since; empty when no process has it open any more."""
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # the last one to write has closed it
        return ""
