"""Lanes: how threads are divided, and what torch computes with."""

from __future__ import annotations

import threading

import pytest
import torch

from lowrank_demo.validate.lanes import Lanes, divided


@pytest.mark.parametrize("threads", range(1, 130))
def test_threads_are_divided(threads: int) -> None:
    lanes = divided(threads)
    assert 2 <= lanes.count <= 4
    used = lanes.count * lanes.threads
    assert used <= threads or (lanes.threads == 1 and lanes.count <= 2 * threads)
    assert all(used >= count * (threads // count) for count in (2, 3, 4)), "no other count leaves fewer over"


def test_a_thread_that_starts_within_the_block_has_the_share_of_a_lane() -> None:
    before = torch.get_num_threads()
    found: list[int] = []
    with Lanes(2, before + 1).computing():
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert found == [before + 1]
    assert torch.get_num_threads() == before
