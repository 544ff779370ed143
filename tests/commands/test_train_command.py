"""``train`` on the command line: the device that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lowrank_demo.commands.train import _device
from tests.helpers.commands import run

CONFIG = '[data]\ntrain = "a.lmdb"\nvalidation = "a.lmdb"\n[finetune]\nstart = "bundled/scheme_2/v5"\nepochs = 1\n'


def test_the_engine_of_the_app_does_not_choose_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOWRANK_ENGINE=openvino made a machine's GPU idle, and its processor train."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for engine in ("", "torch", "openvino"):
        monkeypatch.setenv("LOWRANK_ENGINE", engine)
        assert _device() == torch.device("cuda:0")
    monkeypatch.setenv("LOWRANK_DEVICE", "cpu")
    assert _device(2) == torch.device("cpu")


def test_one_gpu_for_several_processes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(CONFIG)
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    done = run("train", "finetune", str(tmp_path / "run.toml"), **place, LOWRANK_DEVICE="cuda:1")
    assert done.returncode == 1
    assert "LOWRANK_DEVICE is cuda:1, but 2 processes train together" in done.stderr
    assert len(done.stderr.splitlines()) == 1
