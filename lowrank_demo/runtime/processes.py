"""This process among those that ``torchrun`` started, on one machine or several."""

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


def place() -> tuple[int, int]:
    """This process's rank, and how many ``torchrun`` started; (0, 1) without it. Joins nothing."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Processes:
    """This process, and its device."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def join(cls, backend: str | None = None, timeout: datetime.timedelta | None = None) -> Processes:
        """Join the others, if there are any.

        Args:
            backend: ``nccl`` or ``gloo``; None takes NCCL where there is a GPU.
            timeout: How long to wait for the others at each exchange; None takes torch's own.
        """
        rank, world = place()
        gpu = torch.cuda.is_available()
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
        if world > 1 and not dist.is_initialized():
            dist.init_process_group(backend or ("nccl" if gpu else "gloo"), timeout=timeout)
        return cls(rank, world, device)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, tensor: Tensor) -> Tensor:
        """The first process's tensor, in every process."""
        if self.world > 1:
            dist.broadcast(tensor, 0)
        return tensor

    def gather(self, value: Value) -> list[Value]:
        """Every process's value, in the first process, once all have arrived; an empty list in the others.

        Raises:
            ProcessLost: One of them will not arrive.
        """
        if self.world == 1:
            return [value]
        values: list[Any] | None = [None] * self.world if self.rank == 0 else None
        try:
            dist.gather_object(value, values)
            dist.barrier()
        except RuntimeError as error:
            raise ProcessLost(
                "Another process of this run ended early; what each had counted is kept: run the same command again "
                "with --resume."
            ) from error
        return values or []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # A process that ends without taking leave of the others is now and then aborted by the threads it leaves.
        if dist.is_initialized():
            dist.destroy_process_group()
