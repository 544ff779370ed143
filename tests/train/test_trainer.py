"""The loss of images for which some of the classes compete, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lowrank_demo.train.trainer import cross_entropy_among


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_that_of_a_network_with_the_competing_classes_alone(smoothing: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 10)
    all_classes, some = torch.ones(10, dtype=torch.bool), torch.zeros(10, dtype=torch.bool)
    some[[1, 4, 7]] = True
    labels, places = torch.tensor([1, 4, 7, 7, 3, 0]), torch.tensor([0, 1, 2, 2])
    competing = torch.stack([some] * 4 + [all_classes] * 2)
    wanted = 4 * F.cross_entropy(logits[:4, some], places, label_smoothing=smoothing)
    wanted += 2 * F.cross_entropy(logits[4:], labels[4:], label_smoothing=smoothing)
    found = cross_entropy_among(logits, labels, competing, smoothing)
    torch.testing.assert_close(found, wanted / 6)


def test_classes_that_do_not_compete_learn_nothing() -> None:
    logits = torch.zeros(2, 5, requires_grad=True)
    competing = torch.tensor([[True, True, False, False, True]] * 2)
    cross_entropy_among(logits, torch.tensor([0, 4]), competing, 0.1).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).equal(competing)
