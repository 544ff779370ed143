"""Gradio's messages to each visitor, with a limit on those that nobody fetches.

Gradio keeps every answer until its visitor fetches it, in the mailboxes of the last 2,000 sessions. If it removed a
mailbox to make room while its visitor still waits, that request would end, and perhaps the queue.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import OrderedDict
from typing import Any

from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Queue
from gradio.server_messages import EventMessage, ProcessCompletedMessage
from gradio.utils import LRUCache

from ..serve.routes import SESSION

UNREAD_SECONDS = 60.0
"""Seconds that an answer waits to be fetched. An open page fetches its answers at once."""
UNREAD_BYTES = 50_000_000
"""Limit on the bytes of all answers that wait to be fetched; the oldest is dropped first."""
_EXPIRED = "The answer was not fetched in time, and was dropped; ask again."


def refuse_odd_sessions(queue: Queue) -> None:
    """Refuse requests with a long or odd session name; one of a page has 11 letters and digits.

    Gradio keeps the names, and puts them into the names of its tasks, which it takes apart again.
    """
    push = queue.push

    async def checked(body: PredictBodyInternal, *args: Any, **kwargs: Any) -> Any:
        name = body.session_hash or ""
        if name and not re.fullmatch(SESSION, name):
            refusal = (
                f"The session's name has {len(name):,} characters, or some that do not belong in it; expected at most "
                "100 letters, digits, hyphens and underscores."
            )
            return False, refusal, "error"
        return await push(body, *args, **kwargs)

    queue.push = checked


class Mailboxes(LRUCache[str, "asyncio.Queue[EventMessage]"]):
    """The mailboxes of all sessions, by session. Used by one event loop.

    Args:
        queue: Gradio's queue, which says who waits for an answer.
        count: Mailboxes to keep; those of visitors who wait are kept anyway.
        seconds: How long an answer waits to be fetched.
        max_bytes: Limit on the bytes of all answers that wait, as JSON.
    """

    def __init__(
        self, queue: Queue, count: int = 2000, seconds: float = UNREAD_SECONDS, max_bytes: int = UNREAD_BYTES
    ) -> None:
        super().__init__(count)
        self._queue = queue
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._unread: OrderedDict[int, tuple[float, int, ProcessCompletedMessage]] = OrderedDict()
        """By the ``id`` of each answer: when it came, its bytes, and the answer itself; the oldest first."""
        self._bytes = 0

    def __setitem__(self, session: str, _: object) -> None:
        """Open a mailbox in place of the plain queue that Gradio passes."""
        while len(self) >= self.max_size and self._close_one():
            pass
        OrderedDict.__setitem__(self, session, _Mailbox(self))

    def __delitem__(self, session: str) -> None:
        """Close a mailbox; what nobody fetched is gone. Each of a session's streams closes it when it ends."""
        mailbox = OrderedDict.pop(self, session, None)
        while mailbox and not mailbox.empty():
            mailbox.get_nowait()

    def __missing__(self, session: str) -> asyncio.Queue[EventMessage]:
        """Return a mailbox that nobody reads: an error here would end Gradio's queue."""
        return asyncio.Queue()

    def came(self, message: EventMessage) -> None:
        """Note an answer, and drop the oldest ones if they have waited too long or all take too much memory."""
        if not isinstance(message, ProcessCompletedMessage):
            return
        size = len(json.dumps(message.output, default=str))
        self._unread[id(message)] = (time.monotonic(), size, message)
        self._bytes += size
        while self._unread:
            at, _, oldest = next(iter(self._unread.values()))
            if self._bytes <= self._max_bytes and time.monotonic() - at <= self._seconds:
                break
            self.went(oldest)
            oldest.output, oldest.success = {"error": _EXPIRED}, False

    def went(self, message: EventMessage) -> None:
        """Note that an answer was fetched or dropped."""
        _, size, _ = self._unread.pop(id(message), (0.0, 0, None))
        self._bytes -= size

    def _close_one(self) -> bool:
        """Close the oldest mailbox whose visitor waits for nothing; return whether there is one."""
        waiting = {event.session_hash for event in self._queue.event_ids_to_events.values()}
        session = next((session for session in self if session not in waiting), None)
        if session is None:
            return False
        del self[session]
        # Gradio never forgets the sessions whose answers were fetched.
        self._queue.pending_event_ids_session.pop(session, None)
        return True


class _Mailbox(asyncio.Queue[EventMessage]):
    """One session's messages."""

    def __init__(self, mailboxes: Mailboxes) -> None:
        super().__init__()
        self._mailboxes = mailboxes

    def _put(self, item: EventMessage) -> None:
        super()._put(item)  # pyright: ignore[reportAttributeAccessIssue]
        self._mailboxes.came(item)

    def _get(self) -> EventMessage:
        item = super()._get()  # pyright: ignore[reportAttributeAccessIssue]
        self._mailboxes.went(item)
        return item
