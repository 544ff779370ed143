"""Code that was written for the original release's ``model_def``."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lowrank_demo.errors import UnknownModel
from lowrank_demo.model_def import low_rank_alexnet


def test_it_returns_what_the_original_did() -> None:
    torch.manual_seed(3)
    network = low_rank_alexnet("scheme_2", "v5")
    assert network.training
    assert "classifier.1.num_batches_tracked" in network.state_dict()
    logits, target = torch.randn(4, 1000), torch.tensor([1, 2, 3, 999])
    assert network.loss(logits, target) == nn.CrossEntropyLoss()(logits, target)  # pyright: ignore[reportCallIssue]
    assert "loss" not in "".join(network.state_dict()), "it adds nothing to the weights"


def test_a_version_that_does_not_exist() -> None:
    with pytest.raises(UnknownModel, match="scheme_1/v5"):
        low_rank_alexnet("scheme_1", tag="v5")
