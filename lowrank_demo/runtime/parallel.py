"""Work spread over threads, with a bounded look-ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 8


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    name: str,
    quick: Callable[[Item], Result | None] | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """Yield every item with its result, in order, while threads compute the next results.

    The threads are at most eight items each ahead of the caller: a million items take no memory, and closing the
    generator is quick. It cancels the items that wait and lets the running ones finish.

    Args:
        function: Called once for each item, in a thread. What it raises ends the generator.
        items: Taken as they are needed.
        threads: Items in work at the same time.
        name: Prefix of the threads' names.
        quick: Called first, in the caller's thread, for items that cost less than handing them over; returns None for
            any other item.
    """
    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            for item in items:
                result = quick(item) if quick else None
                if result is not None and not pending:
                    yield item, result
                    continue
                pending.append((item, pool.submit(function, item) if result is None else _finished(result)))
                if len(pending) == _AHEAD * threads:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def _finished(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future
