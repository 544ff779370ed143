"""Lanes: batches that a processor computes side by side, each with its share of the threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

_MOST = 4
"""Each lane keeps the memory of a decoder and of a batch."""


@dataclass(frozen=True)
class Lanes:
    """How a pass divides the threads that torch computes with."""

    count: int
    threads: int
    """Threads of each lane."""

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Let torch compute with the threads of one lane in every thread that starts within the block."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def divided(threads: int) -> Lanes:
    """Return lanes for a processor with so many threads.

    Threads that share a layer wait for one another whenever a decoder takes a core; lanes do not. There are therefore
    at least two. Those of one thread may be twice as many as the threads: while one waits for its decoder, another has
    the core. With more threads than lanes, the count is the one that leaves the fewest threads over.
    """
    if threads < _MOST:
        return Lanes(min(2 * threads, _MOST), 1)
    count = max(range(2, _MOST + 1), key=lambda count: (count * (threads // count), count))
    return Lanes(count, threads // count)
