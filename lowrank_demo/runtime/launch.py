"""The place of this process among those that a launcher such as ``torchrun`` started, read from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError
from .schema import shown

_ALONE = "start the run with torchrun, or unset RANK and WORLD_SIZE to run one process alone"


@dataclass(frozen=True)
class Place:
    """Which of how many processes this one is. A process alone is the first of one."""

    rank: int = 0
    """0 to ``world`` - 1."""
    world: int = 1
    """Number of processes on all machines."""
    local_rank: int = 0
    """0 to ``local_world`` - 1: the number of the GPU that is this process's own."""
    local_world: int = 1
    """Number of processes on this machine."""
    address: str = ""
    """Where the processes meet, as ``host:port``."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Place:
        """Read the variables that ``torchrun`` sets; other programs set them as well, and shells keep them.

        Args:
            environ: Variables; None for those of this process. An empty value counts as not set.

        Raises:
            UsageError: They contradict each other, or are not numbers.
        """
        env = {name: value.strip() for name, value in (os.environ if environ is None else environ).items()}
        world, rank = _number(env, "WORLD_SIZE"), _number(env, "RANK")
        if world is not None and world < 1:
            raise UsageError(f"WORLD_SIZE is {world} in the environment; expected at least 1: {_ALONE}.")
        if rank is not None and rank >= (world or 1):
            size = "is not set" if world is None else f"is {world}"
            raise UsageError(
                f"RANK is {rank} in the environment and WORLD_SIZE {size}; expected a RANK below WORLD_SIZE: {_ALONE}."
            )
        if (world or 1) == 1:
            return cls()
        # Without LOCAL_RANK every process would take the first GPU and all processors.
        missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if not env.get(name)]
        if missing or rank is None or world is None:
            raise UsageError(
                f"WORLD_SIZE is {world} in the environment, but {', '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not set: {_ALONE}."
            )
        port = _number(env, "MASTER_PORT") or 0
        if not 1 <= port <= 65535:
            raise UsageError(f"MASTER_PORT is {port} in the environment; expected 1 to 65535: {_ALONE}.")
        local_rank = _number(env, "LOCAL_RANK") or 0
        local_world = _number(env, "LOCAL_WORLD_SIZE") or local_rank + 1
        if local_rank >= local_world:
            raise UsageError(
                f"LOCAL_RANK is {local_rank} in the environment and LOCAL_WORLD_SIZE {local_world}; expected a "
                f"LOCAL_RANK below LOCAL_WORLD_SIZE: {_ALONE}."
            )
        return cls(rank, world, local_rank, local_world, f"{env['MASTER_ADDR']}:{port}")


def _number(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name)
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(f"{name} is {shown(text)} in the environment; expected a whole number: {_ALONE}.")
    return int(text)
