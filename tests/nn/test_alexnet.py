"""The network against the original release's layout."""

import json
import pickle

import pytest
import torch

from lowrank_demo import low_rank_alexnet
from lowrank_demo.errors import UnknownModel
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet, LowRankLayer
from lowrank_demo.serve.networks import Networks
from lowrank_demo.settings import Settings
from tests.helpers.paths import FILES

LAYOUT = json.loads((FILES / "state_dict_layout.json").read_text())


@pytest.mark.parametrize("model", sorted(LAYOUT))
def test_state_dict_has_the_original_layout(model: str) -> None:
    scheme, _, version = model.rpartition("_")
    with torch.device("meta"):
        network = low_rank_alexnet(scheme, version)
    state = network.state_dict()
    found = {key: [list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in state.items()}
    assert found == LAYOUT[model]
    assert list(found) == list(LAYOUT[model]), "same order as in the original"


def test_all_nine_are_covered() -> None:
    assert len(LAYOUT) == 9


@pytest.mark.parametrize("scheme", ["scheme_1", "scheme_2"])
def test_factors_compute_the_dense_convolution_of_their_product(scheme: str) -> None:
    """V then U is the convolution with the kernel that the paper's matrix product describes."""
    torch.manual_seed(0)
    network = LowRankAlexNet(scheme, [5, 6, 7, 8, 9, 10, 11, 12]).double()
    layer = network.features[0]
    assert isinstance(layer, LowRankLayer)
    v, u = layer.V.weight, layer.U.weight
    if scheme == "scheme_1":
        matrix = u.reshape(96, 5) @ v.reshape(5, 3 * 11 * 11)
        kernel = matrix.reshape(96, 3, 11, 11)
    else:
        # (n k1) x (m k2): U[n, r, k1, 1] and V[r, m, 1, k2]
        matrix = u.reshape(96, 5, 11).permute(0, 2, 1).reshape(96 * 11, 5) @ v.reshape(5, 3 * 11)
        kernel = matrix.reshape(96, 11, 3, 11).permute(0, 2, 1, 3)
    images = torch.randn(2, 3, 227, 227, dtype=torch.float64)
    dense = torch.nn.functional.conv2d(images, kernel, layer.U.bias, stride=4, padding=2)
    torch.testing.assert_close(layer(images), dense)


def test_unknown_version() -> None:
    with pytest.raises(UnknownModel, match="published/scheme_1/v9"):
        low_rank_alexnet("scheme_1", "v9")


def test_bundled_pretrained() -> None:
    network = low_rank_alexnet("scheme_2", "v5", pretrained=True, progress=False, family="bundled")
    assert not network.training
    assert network.state_dict()["features.0.V.weight"].dtype == torch.float32


@pytest.mark.parametrize("model", ["scheme_1/v4", "scheme_2/v5"])
def test_pretrained_answers_as_validate_does(zoo: Zoo, settings: Settings, model: str) -> None:
    scheme, version = model.split("/")
    card = zoo.get(f"bundled/{model}")
    network = low_rank_alexnet(scheme, version, pretrained=True, progress=False, family="bundled")
    validated = Networks(settings, WeightStore.from_settings(settings)).for_pass(card, torch.device("cpu"))
    images = torch.randn(2, 3, 227, 227)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), validated.classifier.logits(images), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(pickle.loads(pickle.dumps(network))(images), network(images))
