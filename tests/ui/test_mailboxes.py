"""Answers that nobody fetches, and mailboxes that make room for others."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import gradio as gr
import pytest
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.server_messages import ProcessCompletedMessage

from lowrank_demo.ui.mailboxes import Mailboxes, refuse_odd_sessions


@pytest.fixture
def queue() -> Queue:
    with gr.Blocks() as demo:
        gr.api(lambda: 1, api_name="one")
    return demo.queue()._queue


def answer(text: str) -> ProcessCompletedMessage:
    return ProcessCompletedMessage(output={"data": [text]}, success=True)


def waits(queue: Queue, session: str) -> None:
    event = Event(session, queue.blocks.fns[0], cast(Any, None), None)
    queue.event_ids_to_events[event._id] = event
    queue.pending_event_ids_session[session] = {event._id}


def test_the_oldest_unread_answers_are_dropped(queue: Queue) -> None:
    boxes = Mailboxes(queue, max_bytes=3000)
    for name in "abcd":
        boxes[name] = asyncio.Queue()
        boxes[name].put_nowait(answer(name * 900))
    fetched = [cast(ProcessCompletedMessage, boxes[name].get_nowait()) for name in "abcd"]
    assert [message.success for message in fetched] == [False, True, True, True]
    assert "not fetched in time" in fetched[0].output["error"]
    for _ in range(20):  # what was fetched counts no more
        boxes["a"].put_nowait(answer("a" * 900))
        assert cast(ProcessCompletedMessage, boxes["a"].get_nowait()).success


def test_an_answer_waits_only_so_long(queue: Queue) -> None:
    boxes = Mailboxes(queue, seconds=0)
    for name in "ab":
        boxes[name] = asyncio.Queue()
        boxes[name].put_nowait(answer(name))
    assert not cast(ProcessCompletedMessage, boxes["a"].get_nowait()).success


def test_a_visitor_who_waits_keeps_the_mailbox(queue: Queue) -> None:
    boxes = Mailboxes(queue, count=3)
    for session in ("first", *map(str, range(10))):
        boxes[session] = asyncio.Queue()
        if session == "first":
            waits(queue, session)
        else:
            queue.pending_event_ids_session[session] = set()
    assert list(boxes) == ["first", "8", "9"]
    assert list(queue.pending_event_ids_session) == ["first", "8", "9"]


def test_a_message_to_nobody_is_no_error(queue: Queue) -> None:
    boxes = Mailboxes(queue)
    boxes["gone"].put_nowait(answer("text"))
    assert "gone" not in boxes
    boxes["a"] = asyncio.Queue()
    boxes["a"].put_nowait(answer("text"))
    del boxes["a"]
    assert "a" not in boxes


def test_streams_of_one_session_close_its_mailbox_each(queue: Queue) -> None:
    boxes = Mailboxes(queue)
    boxes["a"] = asyncio.Queue()
    for _ in range(2):
        del boxes["a"]
    assert "a" not in boxes


@pytest.mark.parametrize("session", ["x" * 101, "half \ud800", "a\nb", "a<gradio-sep>b", "a b"])
def test_odd_sessions_are_refused(queue: Queue, session: str) -> None:
    refuse_odd_sessions(queue)
    body = PredictBodyInternal(data=[], fn_index=0, session_hash=session, request=None)
    assert asyncio.run(queue.push(body, cast(Any, None), None)) == (
        False,
        f"The session's name has {len(session)} characters, or some that do not belong in it; expected at most 100 "
        "letters, digits, hyphens and underscores.",
        "error",
    )
