"""Material of the tests marked ``gpu``: they run on the GPU where there is one, and on the processor elsewhere.

On the processor they compare it with itself, on few images: that keeps them free of mistakes until a GPU is at hand.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.settings import Settings
from tests.bench.material import CPU, real_records, write_records

GPU = torch.cuda.is_available()


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Return the GPU, or the CPU where there is none."""
    return torch.device("cuda", 0) if GPU else CPU


@pytest.fixture(scope="session")
def records() -> list[Record]:
    """Return labelled images of shortest edge 256."""
    return real_records(400 if GPU else 12)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> Path:
    """Return an LMDB file of the records."""
    path = tmp_path_factory.mktemp("gpu") / "records.lmdb"
    write_records(path, records, len(records))
    return path


@pytest.fixture
def on_cpu(settings: Settings) -> Settings:
    """Return settings for the processor alone."""
    return dataclasses.replace(settings, device="cpu", max_photos=1000)


@pytest.fixture
def on_device(settings: Settings, device: torch.device) -> Settings:
    """Return settings for the GPU where there is one."""
    return dataclasses.replace(settings, device=str(device), max_photos=1000)
