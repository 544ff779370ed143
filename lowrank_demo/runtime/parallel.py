"""Work spread over threads, with a bounded look-ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 8


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, name: str, together: int = 1
) -> Generator[tuple[Item, Result], None, None]:
    """Yield every item with its result, in order, while threads compute the next results.

    The threads are at most eight items each ahead of the caller: a million items take no memory, and closing the
    generator is quick. It cancels the items that wait and lets the running ones finish.

    Args:
        function: Called once for each item, in a thread. What it raises ends the generator.
        items: Taken as they are needed.
        threads: Items in work at the same time.
        name: Prefix of the threads' names.
        together: Items that a thread takes at once, up to four: more than one where handing them over costs as much as
            the work.
    """

    def results(group: list[Item]) -> list[Result]:
        return [function(item) for item in group]

    pending: deque[tuple[list[Item], Future[list[Result]]]] = deque()
    left = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            while group := list(islice(left, together)):
                pending.append((group, pool.submit(results, group)))
                if len(pending) == _AHEAD // together * threads:
                    done, future = pending.popleft()
                    yield from zip(done, future.result(), strict=True)
            while pending:
                done, future = pending.popleft()
                yield from zip(done, future.result(), strict=True)
        finally:
            for _, future in pending:
                future.cancel()
