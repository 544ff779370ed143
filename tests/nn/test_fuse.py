"""The inference form computes what the network computes."""

import pytest
import torch

from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.nn.fuse import inference_form


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_same_logits_as_the_plain_network(scheme: str) -> None:
    torch.manual_seed(1)
    network = LowRankAlexNet(scheme, [9, 20, 30, 30, 30, 64, 64, 64])
    images = torch.randn(8, 3, 227, 227)
    network.train()(images)  # running statistics that are not the initial ones
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    fused = inference_form(network)
    with torch.inference_mode():
        expected = network.eval()(images)
        torch.testing.assert_close(fused(images), expected, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in fused.modules())
