"""OpenVINO computes what the network computes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lowrank_demo.errors import SettingError
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.nn.openvino import OpenVinoNetwork, openvino, openvino_form
from tests.helpers.paths import ROOT

HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module", params=["scheme_1", "scheme_2"])
def network(request: pytest.FixtureRequest) -> LowRankAlexNet:
    torch.manual_seed(1)
    made = LowRankAlexNet(request.param, [9, 20, 30, 30, 30, 64, 64, 64])
    for module in made.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0  # the statistics of these images, so that logits differ between images
    made.train()(torch.randn(8, 3, 227, 227))
    return made.eval()


def test_same_logits_as_the_plain_network(network: LowRankAlexNet) -> None:
    images = torch.randn(35, 3, 227, 227)  # two whole parts and a smaller one
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with torch.inference_mode():
        found = openvino_form(network, "fp32")(images.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, network(images), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.skipif(HAS_BF16, reason="this processor has bf16")
def test_bf16_is_refused_where_fp32_would_be_computed(network: LowRankAlexNet) -> None:
    with pytest.raises(SettingError, match="would compute in fp32; set LOWRANK_PRECISION to fp32"):
        openvino_form(network, "bf16")


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16")
def test_bf16_is_near(network: LowRankAlexNet) -> None:
    images = torch.randn(4, 3, 227, 227)
    with torch.inference_mode():
        expected = network(images)
        found = openvino_form(network, "bf16")(images)
    assert found.dtype == torch.float32
    assert not torch.allclose(found, expected, atol=1e-4, rtol=1e-4)
    # 0.035 to 0.051 over twelve random networks: another network would differ by more than 1.
    assert (found - expected).norm() < 0.1 * expected.norm()


def test_asked_from_several_threads(network: LowRankAlexNet) -> None:
    compiled = openvino_form(network, "fp32")
    batches = [torch.randn(3, 3, 227, 227) for _ in range(6)]
    with torch.inference_mode():
        expected = [compiled(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(compiled, batches), expected, strict=True):
            torch.testing.assert_close(found, wanted)


def test_a_layer_that_the_network_does_not_have() -> None:
    with pytest.raises(TypeError, match="no Softmax"):
        OpenVinoNetwork([torch.nn.Softmax(1)], "fp32")


def test_nothing_is_reported_to_anyone() -> None:
    code = (
        "import sys, lowrank_demo.nn.openvino\n"
        "loaded = [name for name in sys.modules if name.startswith('openvino_telemetry') and sys.modules[name]]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
