"""Answers equal an independent computation: Pillow and the unfused network, image by image."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from lowrank_demo.classify.inference import Classifier, Prediction, classify
from lowrank_demo.data.imagenet import classes
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.decode.choose import choose_decoder
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.cards import Zoo
from lowrank_demo.models.store import LocalFile
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import ENGINES, Arithmetic, Settings
from tests.helpers.paths import SHARED_LMDB
from tests.helpers.photos import photo_path

PREVIEW = "preview/scheme_2/v5"
CPU = torch.device("cpu")


@pytest.mark.parametrize("decoder", ["auto", "pillow"])
def test_probabilities_equal_a_plain_computation(settings: Settings, decoder: str) -> None:
    service = Service(Settings.from_environment({"LOWRANK_DECODER": decoder, "LOWRANK_CACHE_DIR": "/tmp"}))
    card = service.zoo.get(PREVIEW)
    network = load_network(card, service.weights.ensure(card))
    data = [photo_path(name).read_bytes() for name in ("lion.jpg", "cheetah1.jpg")]  # 256 x 256: nothing to resize
    answers = classify(data, Classifier(network, None, CPU), service.machine.decoder.decoder)
    for content, answer in zip(data, answers, strict=True):
        assert isinstance(answer, Prediction)
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[15:242, 15:242] / 255.0
        normalised = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        images = torch.from_numpy(normalised).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            expected = torch.softmax(network(images)[0].double(), 0)
        values, indices = expected.topk(5)
        assert [guess.label.index for guess in answer.top] == indices.tolist()
        np.testing.assert_allclose([guess.probability for guess in answer.top], values, atol=1e-4)
        assert answer.timings.decode > 0
        assert answer.timings.network > 0


def test_a_lion_is_recognised(settings: Settings) -> None:
    service = Service(settings)
    card = service.zoo.get(PREVIEW)
    classifier = Classifier(load_network(card, service.weights.ensure(card)), card.pre_shrink, service.machine.device)
    (answer,) = classify([photo_path("lion.jpg").read_bytes()], classifier, service.machine.decoder.decoder)
    assert isinstance(answer, Prediction)
    assert classes()[291] in [guess.label for guess in answer.top]


def test_several_batches_keep_the_order(settings: Settings) -> None:
    service = Service(settings)
    classifier = service.networks.get(service.zoo.get(PREVIEW), service.machine.device)
    names = ["lion.jpg", "tower.jpg", "cheetah.jpg"]
    single = [classify([photo_path(n).read_bytes()], classifier, service.machine.decoder.decoder)[0] for n in names]
    many = classify([photo_path(n).read_bytes() for n in names] * 25, classifier, service.machine.decoder.decoder)
    assert len(many) == 75
    for i, answer in enumerate(many):
        expected = single[i % 3]
        assert isinstance(answer, Prediction)
        assert isinstance(expected, Prediction)
        assert answer.top[0].label == expected.top[0].label
        assert answer.top[0].probability == pytest.approx(expected.top[0].probability, abs=1e-4)


@pytest.fixture(scope="module")
def real_pixels(zoo: Zoo) -> torch.Tensor:
    """Return the 400 real images as networks take them."""
    if not SHARED_LMDB.exists():
        pytest.skip("the 400 real images are not here")
    with LmdbReader(SHARED_LMDB) as reader:
        images = [record.image for record in reader]
    return choose_decoder(Settings.from_environment({}), CPU).decoder.decode(images, oriented=False).pixels


@pytest.fixture(scope="module")
def network_and_logits(zoo: Zoo, real_pixels: torch.Tensor) -> tuple[LowRankAlexNet, torch.Tensor]:
    """Return a network and what it says about the images in fp32."""
    card = zoo.get(PREVIEW)
    network = load_network(card, LocalFile(zoo.folder / card.weights.file, card.weights.sha256, card.weights.format))
    return network, Classifier(network, card.pre_shrink, CPU).logits(real_pixels)


@pytest.mark.parametrize("engine", ENGINES)
def test_bf16_decides_as_fp32(
    engine: str, zoo: Zoo, real_pixels: torch.Tensor, network_and_logits: tuple[LowRankAlexNet, torch.Tensor]
) -> None:
    network, wanted = network_and_logits
    found = Classifier(network, zoo.get(PREVIEW).pre_shrink, CPU, Arithmetic(engine, "bf16")).logits(real_pixels)
    assert found.dtype == torch.float32
    assert not torch.equal(wanted, found)
    assert torch.equal(wanted.argmax(1), found.argmax(1)), "the same decision on every image"
