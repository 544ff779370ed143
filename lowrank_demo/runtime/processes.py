"""The processes that ``torchrun`` starts, on one machine or several, and what they exchange."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import ProcessLost, UsageError
from .launch import Place
from .stopping import interruptible
from .words import counted

Value = TypeVar("Value")
_ALONE = Place()
_JOIN_SECONDS = 600.0
"""Longest wait for all processes to start: they load the same libraries, on machines that may start one by one."""


def own_gpu(place: Place) -> torch.device:
    """Return this process's own GPU, and make it torch's default: otherwise each process also uses the first one.

    Raises:
        UsageError: The machine has fewer GPUs than processes.
    """
    gpus = torch.cuda.device_count()
    if place.local_rank >= gpus:
        raise UsageError(
            f"LOCAL_RANK is {place.local_rank}, but torch finds {counted(gpus, 'GPU')}; start at most {gpus} on this "
            "machine, with --nproc-per-node."
        )
    device = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(device)
    return device


@dataclass(frozen=True)
class Processes:
    """This process's place in the group, and its device. A context manager that leaves the group at its end."""

    rank: int
    """0 to ``world`` - 1."""
    world: int
    """Number of processes."""
    device: torch.device

    @classmethod
    def join(
        cls, place: Place = _ALONE, backend: str | None = None, timeout: datetime.timedelta | None = None
    ) -> Processes:
        """Join the process group, if there is more than one process. The wait for the others can be interrupted.

        Args:
            place: From :meth:`Place.from_environment`; torch reads the same variables.
            backend: ``gloo`` to exchange values in the CPU's memory alone; None takes the process's own GPU and NCCL
                where there is one, and gloo without.
            timeout: Longest wait for the other processes at each exchange; None means torch's default.

        Raises:
            UsageError: The machine has fewer GPUs than processes.
            ProcessLost: The other processes could not be reached, or did not start in time.
        """
        gpu = backend is None and torch.cuda.is_available()
        device = own_gpu(place) if gpu else torch.device("cpu")
        if place.world > 1 and not dist.is_initialized():
            chosen = backend or ("nccl" if gpu else "gloo")
            _meet(place, lambda: dist.init_process_group(chosen, timeout=timeout))
        return cls(place.rank, place.world, device)

    def sum(self, values: Tensor) -> Tensor:
        """Add up ``values`` over all processes, in place, and return them.

        Raises:
            ProcessLost: A process ended early.
        """
        if self.world > 1:
            self._exchange(lambda: dist.all_reduce(values))
        return values

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Copy the first process's tensor into every process's ``tensor``, in place, and return it.

        Raises:
            ProcessLost: A process ended early.
        """
        if self.world > 1:
            self._exchange(lambda: dist.broadcast(tensor, 0))
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
        self._exchange(lambda: dist.gather_object(value, values))
        self.barrier()
        return values or []

    def barrier(self) -> None:
        """Wait until every process has arrived.

        Raises:
            ProcessLost: A process ended early.
        """
        if self.world > 1:
            self._exchange(dist.barrier)

    def _exchange(self, call: Callable[[], object]) -> None:
        def exchange() -> None:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)  # each thread has its own current GPU, which starts as the first
            call()

        try:
            interruptible(exchange)
        except RuntimeError as error:
            raise ProcessLost(
                "Another process of this run ended early. What was saved is kept: run the same command again with "
                "--resume."
            ) from error

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Without this, torch's background threads sometimes abort a process as it exits.
        if dist.is_initialized():
            dist.destroy_process_group()


def _meet(place: Place, join: Callable[[], object]) -> None:
    found = f"RANK is {place.rank} and WORLD_SIZE {place.world} in the environment"
    alone = "unset RANK and WORLD_SIZE to run one process alone"

    def say() -> None:
        print(
            f"{found}: waiting for the other processes at {place.address}; if you started none, press Ctrl-C and "
            f"{alone}.",
            file=sys.stderr,
            flush=True,
        )

    try:
        interruptible(join, _JOIN_SECONDS, say)
    except (RuntimeError, ValueError, TimeoutError) as error:
        late = f"no answer in {_JOIN_SECONDS / 60:.0f} minutes"
        reason = late if isinstance(error, TimeoutError) else str(error).partition("\n")[0][:200]
        raise ProcessLost(
            f"{found}, but the other processes could not be reached at {place.address} ({reason}); start them all with "
            f"torchrun, or {alone}."
        ) from error
