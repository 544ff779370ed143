"""What processes exchange, between two real ones and in a run of one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from lowrank_demo.errors import ProcessLost
from lowrank_demo.runtime.launch import Place
from lowrank_demo.runtime.processes import Processes
from tests.helpers.app import free_port
from tests.helpers.paths import ROOT

EXCHANGE = """
import torch
from lowrank_demo.errors import ProcessLost
from lowrank_demo.runtime.launch import Place
from lowrank_demo.runtime.processes import Processes
with Processes.join(Place.from_environment(), "gloo") as processes:
    own = torch.tensor([processes.rank + 1.0])
    print(processes.sum(own.clone()).item(), processes.broadcast(own).item(), processes.gather(processes.rank * 10))
"""


def test_one_process_has_what_it_gives() -> None:
    with Processes.join() as processes:
        assert (processes.rank, processes.world) == (0, 1)
        assert processes.sum(torch.tensor([4.0])).item() == 4
        assert processes.broadcast(torch.tensor([5.0])).item() == 5
        assert processes.gather("own") == ["own"]


def pair(code: str) -> list[subprocess.Popen[str]]:
    """Start this code in two processes of one run."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def test_two_processes_exchange() -> None:
    answers = [process.communicate(timeout=120) for process in pair(EXCHANGE)]
    assert [out.strip() for out, _ in answers] == ["3.0 1.0 [0, 10]", "3.0 1.0 []"], answers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_wait_for_processes_that_nobody_started_says_so_and_can_be_ended(number: signal.Signals) -> None:
    """RANK and WORLD_SIZE were left in the shell by an earlier run."""
    group = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    group["MASTER_PORT"] = str(free_port())
    code = f"from lowrank_demo.runtime.stopping import end_as_by_ctrl_c\nend_as_by_ctrl_c()\n{EXCHANGE}"
    waiting = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **group}, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr
    said = waiting.stderr.readline()
    assert "RANK is 0 and WORLD_SIZE 2 in the environment: waiting for the other processes at 127.0.0.1" in said
    assert "unset RANK and WORLD_SIZE" in said
    waiting.send_signal(number)
    assert "KeyboardInterrupt" in waiting.communicate(timeout=20)[1]


@pytest.mark.parametrize("exchange", ["sum", "broadcast", "gather"])
def test_a_wait_for_a_process_that_is_behind_can_be_ended(exchange: str) -> None:
    first, second = pair(f"""
import time, torch
from lowrank_demo.runtime.stopping import end_as_by_ctrl_c
from lowrank_demo.runtime.launch import Place
from lowrank_demo.runtime.processes import Processes
end_as_by_ctrl_c()
with Processes.join(Place.from_environment(), "gloo") as processes:
    print("met", flush=True)
    time.sleep(60 * processes.rank)
    processes.{exchange}(torch.zeros(1))
""")
    try:
        assert first.stdout
        assert first.stdout.readline() == "met\n"
        time.sleep(0.5)  # until it waits; earlier, the signal would end it all the same
        first.send_signal(signal.SIGTERM)
        assert "KeyboardInterrupt" in first.communicate(timeout=10)[1]
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


def test_processes_that_cannot_be_reached_are_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(ProcessLost, match=r"could not be reached at 127\.0\.0\.1:\d+ \(.*\); start them all"):
            Processes.join(Place.from_environment(), "gloo")
