"""What processes exchange, between two real ones and in a run of one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from lowrank_demo.runtime.processes import Processes, rank_and_world
from tests.helpers.app import free_port
from tests.helpers.paths import ROOT

EXCHANGE = """
import torch
from lowrank_demo.runtime.processes import Processes
with Processes.join("gloo") as processes:
    own = torch.tensor([processes.rank + 1.0])
    print(processes.sum(own.clone()).item(), processes.broadcast(own).item(), processes.gather(processes.rank * 10))
"""


def test_the_place_that_torchrun_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rank_and_world() == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert rank_and_world() == (2, 3)


def test_one_process_has_what_it_gives() -> None:
    with Processes.join() as processes:
        assert (processes.rank, processes.world) == (0, 1)
        assert processes.sum(torch.tensor([4.0])).item() == 4
        assert processes.broadcast(torch.tensor([5.0])).item() == 5
        assert processes.gather("own") == ["own"]


def test_two_processes_exchange() -> None:
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", EXCHANGE],
            cwd=ROOT,
            env={**os.environ, **group, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in started]
    assert [out.strip() for out, _ in answers] == ["3.0 1.0 [0, 10]", "3.0 1.0 []"], answers
