"""Answers equal an independent computation: Pillow and the unfused network, image by image."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from lowrank_demo.classify.inference import Classifier, Prediction, answer, classify, decode_photos
from lowrank_demo.data.imagenet import classes
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.decode.choose import choose_decoder
from lowrank_demo.decode.gate import Crop
from lowrank_demo.decode.pillow import PillowDecoder
from lowrank_demo.errors import SettingError
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import LocalFile
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import ENGINES, Arithmetic, Settings
from tests.helpers.paths import SHARED_LMDB
from tests.helpers.photos import encoded, open_photo, photo_path

V5 = "bundled/scheme_2/v5"
CPU = torch.device("cpu")


@pytest.mark.parametrize("decoder", ["auto", "pillow"])
def test_probabilities_equal_a_plain_computation(settings: Settings, decoder: str) -> None:
    service = Service(Settings.from_environment({"LOWRANK_DECODER": decoder, "LOWRANK_CACHE_DIR": "/tmp"}))
    card = service.zoo.get(V5)
    network = load_network(card, service.weights.ensure(card))
    data = [photo_path(name).read_bytes() for name in ("lion.jpg", "cheetah1.jpg")]  # 256 x 256: nothing to resize
    answers = classify(data, Classifier(network, CPU), service.machine.decoder.decoder)
    for content, found in zip(data, answers, strict=True):
        assert isinstance(found, Prediction)
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[15:242, 15:242] / 255.0
        normalised = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        images = torch.from_numpy(normalised).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            expected = torch.softmax(network(images)[0].double(), 0)
        values, indices = expected.topk(5)
        assert [guess.label.index for guess in found.top] == indices.tolist()
        np.testing.assert_allclose([guess.probability for guess in found.top], values, atol=1e-4)
        assert found.timings.decode.milliseconds > 0
        assert found.timings.network.milliseconds > 0


def test_each_photo_has_its_own_time(settings: Settings) -> None:
    """A photo that was decoded before, and a large one, took as long as the others by the card."""
    small, large = (encoded(open_photo().resize((edge, edge)), "JPEG") for edge in (256, 3000))
    before = Crop(np.zeros((227, 227, 3), np.uint8), 1234.0)
    photos = decode_photos([small, large, before], PillowDecoder(64_000_000))
    service = Service(settings)
    answers = answer(photos, service.networks.get(service.zoo.get(V5), CPU))
    times = [one.timings for one in answers if isinstance(one, Prediction)]
    assert times[2].decode.milliseconds == 1234.0
    assert times[1].decode.milliseconds > 5 * times[0].decode.milliseconds
    assert [one.decode.images for one in times] == [1, 1, 1]
    assert [one.network.images for one in times] == [3, 3, 3]


def test_a_lion_is_recognised(settings: Settings) -> None:
    service = Service(settings)
    card = service.zoo.get(V5)
    classifier = Classifier(load_network(card, service.weights.ensure(card)), service.machine.device)
    (found,) = classify([photo_path("lion.jpg").read_bytes()], classifier, service.machine.decoder.decoder)
    assert isinstance(found, Prediction)
    assert classes()[291] in [guess.label for guess in found.top]


def test_several_batches_keep_the_order(settings: Settings) -> None:
    service = Service(settings)
    classifier = service.networks.get(service.zoo.get(V5), service.machine.device)
    names = ["lion.jpg", "tower.jpg", "cheetah.jpg"]
    single = [classify([photo_path(n).read_bytes()], classifier, service.machine.decoder.decoder)[0] for n in names]
    many = classify([photo_path(n).read_bytes() for n in names] * 25, classifier, service.machine.decoder.decoder)
    assert len(many) == 75
    for i, found in enumerate(many):
        expected = single[i % 3]
        assert isinstance(found, Prediction)
        assert isinstance(expected, Prediction)
        assert found.top[0].label == expected.top[0].label
        assert found.top[0].probability == pytest.approx(expected.top[0].probability, abs=1e-4)


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
    card = zoo.get(V5)
    network = load_network(card, LocalFile(zoo.folder / card.weights.file, card.weights.sha256, card.weights.format))
    return network, Classifier(network, CPU).logits(real_pixels)


@pytest.mark.parametrize("engine", ENGINES)
def test_bf16_decides_as_fp32(
    engine: str, zoo: Zoo, real_pixels: torch.Tensor, network_and_logits: tuple[LowRankAlexNet, torch.Tensor]
) -> None:
    if engine == "openvino":
        from lowrank_demo.nn.openvino import check_precision

        try:
            check_precision("bf16")
        except SettingError as error:
            pytest.skip(str(error))
    network, wanted = network_and_logits
    found = Classifier(network, CPU, Arithmetic(engine, "bf16")).logits(real_pixels)
    assert found.dtype == torch.float32
    assert not torch.equal(wanted, found)
    changed = (wanted.argmax(1) != found.argmax(1)).sum().item()
    print(f"{engine}: {changed} of {len(found)} decisions changed")
    assert changed <= 0.02 * len(found), "the others were close"
