"""The same answers on the GPU as on the processor: classify, compare, occlusion, validation, lower precision."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lowrank_demo.classify.inference import Classifier, Prediction
from lowrank_demo.classify.occlusion import occlusion
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.decode.pillow import PillowDecoder
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from lowrank_demo.validate.evaluate import Validation
from tests.bench.material import CPU, published
from tests.gpu.conftest import GPU
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.gpu
MODEL = "bundled/scheme_2/v5"


def photos_of(records: list[Record]) -> list[Photo]:
    return [Photo.from_bytes(record.image, f"{i}.jpg") for i, record in enumerate(records)]


def classifier_of(service: Service) -> Classifier:
    return service.networks.get(service.zoo.get(MODEL), service.machine.device)


@pytest.fixture
def services(on_cpu: Settings, on_device: Settings) -> tuple[Service, Service]:
    """One on the processor and one on the device, both with Pillow: what differs is the arithmetic."""
    return (
        Service(dataclasses.replace(on_cpu, decoder="pillow")),
        Service(dataclasses.replace(on_device, decoder="pillow")),
    )


def test_classify(records: list[Record], services: tuple[Service, Service], device: torch.device) -> None:
    photos = photos_of(records[:64])
    wanted, found = (service.classify(photos, service.zoo.get(MODEL)) for service in services)
    for one, other in zip(wanted, found, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert other.device.startswith(str(device))
        assert other.top[0].probability == pytest.approx(one.top[0].probability, abs=0.02)
        # Where two classes are equally probable, rounding decides.
        if one.top[0].probability - one.top[1].probability > 0.02:
            assert other.top[0].label == one.top[0].label


def test_compare_with_the_fastest_decoder(records: list[Record], on_device: Settings) -> None:
    service = Service(on_device)
    cards = service.ready_models()
    comparison = service.compare(photos_of(records[:8]), cards)
    assert {card.id for card in comparison.cards} == {card.id for card in cards}
    for answers in comparison.answers:
        for answer in answers:
            assert isinstance(answer, Prediction)
            assert sum(guess.probability for guess in answer.top) <= 1.0001
            assert answer.decoder == service.machine.decoder.decoder.name
    for view in comparison.views:
        assert view is not None
        assert view.shape == (227, 227, 3)


def test_occlusion(records: list[Record], services: tuple[Service, Service]) -> None:
    pixels = PillowDecoder(64_000_000, 1).decode([records[0].image]).pixels[0]
    one, other = (occlusion(pixels.to(service.machine.device), classifier_of(service)) for service in services)
    assert other.probability == pytest.approx(one.probability, abs=0.02)
    assert abs(other.weight - one.weight).max() < 0.02


@pytest.mark.timeout(300)
def test_nine_models_in_one_pass(file: Path, records: list[Record], zoo: Zoo, device: torch.device) -> None:
    torch.manual_seed(0)
    networks = [(card.id, LowRankAlexNet(card.scheme, card.ranks)) for card in published(zoo)]
    count = min(64, len(records))

    def losses(on: torch.device) -> list[int]:
        models = [(name, Classifier(network, on)) for name, network in networks]
        with LmdbReader(file) as reader:
            validation = Validation(reader, models, [PillowDecoder(64_000_000, 4)], records=range(count))
            for _ in validation:
                pass
        assert int(validation.sums.class_count.sum()) == count
        return [validation.sums.models[name].loss for name, _ in models]

    assert losses(device) == pytest.approx(losses(CPU), rel=1e-3)


@contextmanager
def tf32(matrices: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = matrices
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("kind", ["fp32", "tf32", "bf16"])
def test_decisions_of_lower_precision(
    kind: str, records: list[Record], services: tuple[Service, Service], device: torch.device
) -> None:
    if kind == "bf16" and not GPU and "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no bf16")
    pixels = PillowDecoder(64_000_000, 4).decode([record.image for record in records], oriented=False).pixels
    on_cpu, service = services
    wanted = classifier_of(on_cpu).logits(pixels)
    precision = "bf16" if kind == "bf16" else "fp32"
    classifier = classifier_of(Service(dataclasses.replace(service.settings, precision=precision)))
    with tf32(kind == "tf32"):
        found = classifier.logits(pixels).cpu()
    changed = (wanted.argmax(1) != found.argmax(1)).float().mean()
    print(
        f"{kind} on {device} against fp32 on the processor: logits {(wanted - found).abs().mean():.5f} apart, "
        f"{100 * changed:.2f} % of {len(records)} decisions changed"
    )
    assert changed <= (0.02 if kind == "bf16" else 0.005)


@pytest.mark.timeout(300)
def test_a_sharded_pass_equals_one_process(file: Path, tmp_path: Path, device: torch.device) -> None:
    """Two processes on one device: sums are exchanged by gloo, so that they need not have a GPU each."""
    reports: list[dict] = []
    for name, launch in (("one", []), ("two", ["-m", "torch.distributed.run", "--nproc-per-node", "2"])):
        output = tmp_path / f"{name}.json"
        command = [sys.executable, *launch, "-m", "lowrank_demo", "validate", "--lmdb-file", str(file)]
        command += ["--models", MODEL, "--device", str(device), "--batch-size", "4", "--json", str(output)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "LOWRANK_CACHE_DIR": str(tmp_path / name)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        reports.append(json.loads(output.read_text()))
    timed = ("images_per_second", "measured_at")
    one, two = ({key: value for key, value in report.items() if key not in timed} for report in reports)
    assert one["complete"]
    assert one == two
