"""The processes that ``torchrun`` starts, on one machine or several, and what they exchange."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ProcessLost

Value = TypeVar("Value")


def rank_and_world() -> tuple[int, int]:
    """Return this process's rank and the number of processes, as ``torchrun`` set them; (0, 1) without it.

    Reads the environment only; it does not connect to the other processes.
    """
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Processes:
    """This process's place in the group, and its device. A context manager that leaves the group at its end."""

    rank: int
    """0 to ``world`` - 1."""
    world: int
    """Number of processes."""
    device: torch.device

    @classmethod
    def join(cls, backend: str | None = None, timeout: datetime.timedelta | None = None) -> Processes:
        """Join the process group, if there is more than one process.

        Args:
            backend: ``nccl`` or ``gloo``; None means NCCL with a GPU and gloo without.
            timeout: Longest wait for the other processes at each exchange; None means torch's default.
        """
        rank, world = rank_and_world()
        gpu = torch.cuda.is_available()
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
        if world > 1 and not dist.is_initialized():
            dist.init_process_group(backend or ("nccl" if gpu else "gloo"), timeout=timeout)
        return cls(rank, world, device)

    def sum(self, values: Tensor) -> Tensor:
        """Add up ``values`` over all processes, in place, and return them."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Copy the first process's tensor into every process's ``tensor``, in place, and return it."""
        if self.world > 1:
            dist.broadcast(tensor, 0)
        return tensor

    def gather(self, value: Value) -> list[Value]:
        """Collect one value from every process.

        Returns:
            In the first process, all values in order of rank; in the others, an empty list.

        Raises:
            ProcessLost: A process ended before it sent its value.
        """
        if self.world == 1:
            return [value]
        values: list[Any] | None = [None] * self.world if self.rank == 0 else None
        try:
            dist.gather_object(value, values)
            dist.barrier()
        except RuntimeError as error:
            raise ProcessLost(
                "Another process of this run ended early. What each process has counted is kept: run the same command "
                "again with --resume."
            ) from error
        return values or []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Without this, torch's background threads sometimes abort a process as it exits.
        if dist.is_initialized():
            dist.destroy_process_group()
