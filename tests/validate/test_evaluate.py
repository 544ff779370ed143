"""Validation: equal to an independent computation, exact sums, resumed to the same bits, nothing fatal."""

from __future__ import annotations

import dataclasses
import io
import itertools
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.data.lmdb.writer import LmdbWriter
from lowrank_demo.decode.base import Decoder
from lowrank_demo.decode.choose import choose_decoder
from lowrank_demo.errors import DataError, UsageError, WeightsError
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import LocalFile
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.runtime.stopping import stoppable
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from lowrank_demo.validate import evaluate
from lowrank_demo.validate.evaluate import Validation
from lowrank_demo.validate.lanes import Lanes
from lowrank_demo.validate.report import disagreements, make_report, report_csv, report_json
from lowrank_demo.validate.run import ValidationRun
from lowrank_demo.validate.sums import LOSS_UNIT, ModelSums, Sums
from tests.helpers.examples import CONDITIONS
from tests.helpers.paths import SHARED_LMDB
from tests.helpers.photos import encoded, open_photo

V5 = "bundled/scheme_2/v5"
BUNDLED = ["bundled/scheme_1/v4", V5]
TRUNCATED = f"{V5}@7-20-40-40-40-100-100-100"
CPU = torch.device("cpu")


def decoder(settings: Settings, name: str = "auto") -> Decoder:
    return choose_decoder(dataclasses.replace(settings, decoder=name), CPU).decoder


def classifier(seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(LowRankAlexNet("scheme_2", [4, 8, 12, 12, 12, 32, 32, 32]).eval(), CPU)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """150 images of many labels, among them five that cannot be read."""
    path = tmp_path / "file.lmdb"
    photo = open_photo()
    with LmdbWriter(path) as writer:
        for i in range(150):
            image = encoded(photo.rotate(i * 2.4).resize((256 + i % 3, 257)), "JPEG")
            writer.put(Record(b"not an image" if i in (3, 64, 65, 66, 149) else image, (i * 37) % 1000))
    return path


def finish(validation: Validation) -> Sums:
    for _ in validation:
        pass
    return validation.sums


def same(a: Sums, b: Sums) -> bool:
    return (
        a.position == b.position
        and a.unreadable == b.unreadable
        and np.array_equal(a.class_count, b.class_count)
        and a.models.keys() == b.models.keys()
        and all(
            a.models[name].loss == b.models[name].loss
            and np.array_equal(a.models[name].class_top1, b.models[name].class_top1)
            and np.array_equal(a.models[name].class_top5, b.models[name].class_top5)
            and np.array_equal(a.models[name].confused, b.models[name].confused)
            for name in a.models
        )
    )


@dataclasses.dataclass
class ByHand:
    """What a plain computation finds in a file."""

    right1: int = 0
    right5: int = 0
    loss: float = 0.0
    confused: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((1000, 1000), np.int64))


@pytest.fixture(scope="module")
def network(zoo: Zoo) -> LowRankAlexNet:
    card = zoo.get(V5)
    return load_network(card, LocalFile(zoo.folder / card.weights.file, card.weights.sha256, card.weights.format))


@pytest.fixture(scope="module")
def by_hand(network: LowRankAlexNet) -> ByHand:
    """Pillow and the plain, unfused network, one image at a time."""
    if not SHARED_LMDB.exists():
        pytest.skip("the 400 real images are not here")
    found = ByHand()
    with torch.inference_mode(), LmdbReader(SHARED_LMDB) as reader:
        for record in reader:
            image = Image.open(io.BytesIO(record.image)).convert("RGB")
            width, height = image.size
            assert min(width, height) == 224
            image = image.resize((256 * width // 224, 256 * height // 224), Image.Resampling.BICUBIC)
            left, top = (image.width - 227 + 1) // 2, (image.height - 227 + 1) // 2
            pixels = torch.from_numpy(np.asarray(image.crop((left, top, left + 227, top + 227))).copy()).float() / 255
            x = ((pixels - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])).permute(2, 0, 1)
            logits = network(x[None])[0]
            top5 = logits.topk(5).indices.tolist()
            found.right1 += top5[0] == record.label
            found.right5 += record.label in top5
            found.confused[record.label, top5[0]] += 1
            found.loss += float(F.cross_entropy(logits[None], torch.tensor([record.label])))
    return found


@pytest.mark.parametrize("name", ["auto", "pillow"])
def test_equals_an_independent_computation_image_by_image(
    settings: Settings, network: LowRankAlexNet, by_hand: ByHand, name: str
) -> None:
    with LmdbReader(SHARED_LMDB) as reader:
        sums = finish(Validation(reader, [("m", Classifier(network, CPU))], [decoder(settings, name)]))
    model = sums.models["m"]
    assert sums.count == 400
    # These images are resized, where DALI's filter and Pillow's differ by a few levels: enough to tip a near tie.
    tipped = 0 if name == "pillow" else 2
    assert np.abs(model.confused - by_hand.confused).sum() // 2 <= tipped, "the same top-1 decision on every image"
    assert abs(int(model.class_top1.sum()) - by_hand.right1) <= tipped
    assert abs(int(model.class_top5.sum()) - by_hand.right5) <= tipped
    assert model.loss * LOSS_UNIT / 400 == pytest.approx(by_hand.loss / 400, abs=2e-3)


def test_labels_above_255_survive_build_read_validate(tmp_path: Path, settings: Settings) -> None:
    """A network that answers the label written into the photo: an 8-bit label anywhere would be counted wrong."""
    labels = list(range(256, 1000))
    path = tmp_path / "file.lmdb"
    with LmdbWriter(path) as writer:
        for label in labels:
            colour = (label // 100 * 25, label // 10 % 10 * 25, label % 10 * 25)
            writer.put(Record(encoded(Image.new("RGB", (256, 256), colour), "PNG"), label))

    class Reads(Classifier):
        def __init__(self) -> None:
            self.device = CPU

        def logits(self, pixels: torch.Tensor) -> torch.Tensor:
            mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            digits = ((pixels[:, :, 100, 100] * std + mean) * 255 / 25).round().long()
            return F.one_hot(digits @ torch.tensor([100, 10, 1]), 1000).float() * 50

    with LmdbReader(path) as reader:
        sums = finish(Validation(reader, [("m", Reads())], [decoder(settings)]))
    assert sums.count == len(labels)
    assert sums.models["m"].class_top1[256:].tolist() == [1] * len(labels)


def test_unreadable_images_are_counted_and_not_fatal(file: Path, settings: Settings, zoo) -> None:
    with LmdbReader(file) as reader:
        sums = finish(Validation(reader, [(V5, classifier(0))], [decoder(settings)], batch_size=32))
    assert [item.index for item in sums.unreadable] == [3, 64, 65, 66, 149]
    assert sums.count == 145
    report = make_report("file", 150, sums, [zoo.get(V5)], 10.0, CONDITIONS)
    data = report_json(report)
    assert (data["count"], data["unreadable"], data["complete"]) == (145, 5, True)
    (model,) = data["models"]
    assert set(model) >= {"id", "count", "top1_error", "top5_error", "loss"}
    wrong = sum(entry["count"] * entry["top1_error"] / 100 for entry in data["per_class_errors"][V5])
    assert model["top1_error"] == pytest.approx(100 * wrong / 145)
    assert sum(pair["count"] for pair in data["most_confused"][V5]) <= round(wrong)
    assert report_csv(report).splitlines()[1].startswith(f"{V5},145,")
    formula = dataclasses.replace(report.models[0], card=dataclasses.replace(report.models[0].card, family="=1+1"))
    assert report_csv(dataclasses.replace(report, models=(formula,))).splitlines()[1].startswith("'=1+1/")


@pytest.mark.parametrize("size", [1, 7, 64, 150, 1000])
def test_batch_size_changes_nothing_but_rounding(file: Path, settings: Settings, size: int) -> None:
    def measure(batch_size: int) -> Sums:
        with LmdbReader(file) as reader:
            return finish(Validation(reader, [("m", classifier(0))], [decoder(settings)], batch_size=batch_size))

    a, b = measure(size), measure(50)
    assert a.count == b.count == 145
    assert a.unreadable == b.unreadable
    assert np.array_equal(a.models["m"].class_top1, b.models["m"].class_top1)
    assert a.models["m"].loss == pytest.approx(b.models["m"].loss, rel=1e-5)


def test_many_models_in_one_pass_equal_single_passes(file: Path, settings: Settings) -> None:
    models = [(f"m{seed}", classifier(seed)) for seed in range(3)]
    decoded: list[int] = []

    class Counting:
        name = "counting"

        def __init__(self) -> None:
            self._inner = decoder(settings)

        def decode(self, images, *, oriented: bool = True):
            decoded.append(len(images))
            return self._inner.decode(images, oriented=oriented)

    with LmdbReader(file) as reader:
        together = finish(Validation(reader, models, [Counting()], batch_size=32))
    assert sum(decoded) == 150, "each image was decoded once for all models"
    for name, single in models:
        with LmdbReader(file) as reader:
            alone = finish(Validation(reader, [(name, single)], [decoder(settings)], batch_size=32))
        assert alone.models[name].loss == together.models[name].loss
        assert np.array_equal(alone.models[name].confused, together.models[name].confused)


def test_lanes_count_the_same_as_one_thread_and_in_the_same_order(
    file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second decoder is slow, so that batches are finished out of order."""
    monkeypatch.setattr(evaluate, "_LOOK_SECONDS", 0.01)

    class Slow:
        name = "slow"

        def __init__(self) -> None:
            self._inner = decoder(settings)

        def decode(self, images, *, oriented: bool = True):
            time.sleep(0.2)
            return self._inner.decode(images, oriented=oriented)

    models = [(f"m{seed}", classifier(seed)) for seed in range(2)]
    with Lanes(3, 1).computing(), LmdbReader(file) as reader:
        alone = finish(Validation(reader, models, [decoder(settings)], batch_size=16))
        lanes = Validation(reader, models, [decoder(settings), Slow(), decoder(settings)], batch_size=16)
        told = list(lanes)
    assert list(dict.fromkeys(one.done for one in told)) == [*range(0, 150, 16), 150]
    assert len(told) > 11, "a place is told again while the pass waits"
    assert all((one.per_second > 0) == (one.done >= 48) for one in told), "no rate before each lane has done a batch"
    assert lanes.sums.unreadable == alone.unreadable
    for name, _ in models:
        assert lanes.sums.models[name].loss == alone.models[name].loss
        assert np.array_equal(lanes.sums.models[name].confused, alone.models[name].confused)


def test_a_batch_that_fails_ends_the_pass_in_its_turn(file: Path, settings: Settings) -> None:
    """The third batch fails while the first is still being decoded."""
    with LmdbReader(file) as reader:
        first, third = reader[0].image, reader[32].image

        class Uneven:
            name = "uneven"

            def __init__(self) -> None:
                self._inner = decoder(settings)

            def decode(self, images, *, oriented: bool = True):
                if images[0] == third:
                    raise DataError("The third batch is broken.")
                time.sleep(0.5 if images[0] == first else 0)
                return self._inner.decode(images, oriented=oriented)

        run = Validation(reader, [("m", classifier(0))], [Uneven(), Uneven(), Uneven()], batch_size=16)
        with pytest.raises(DataError, match="The third batch is broken"):
            finish(run)
    assert run.sums.position == 32, "what came before the broken batch counts"


def test_stopped_and_resumed_has_the_same_bits(file: Path, settings: Settings) -> None:
    service = Service(settings)
    cards = [service.zoo.get(V5)]

    def one_pass(stop_after: int | None, resume: bool) -> tuple[Sums, int | None]:
        with service.open_validation(file, cards, batch_size=16, resume=resume) as run:
            begun = run.validation.sums.position
            for progress in run:
                if stop_after is not None and progress.done == begun + 16 * stop_after:
                    run.checkpoint.save(run.validation.sums)
                    break
            return run.validation.sums, run.resumed_at

    whole, _ = one_pass(None, False)
    part, _ = one_pass(3, False)
    assert part.position == 48
    part, at = one_pass(2, True)
    assert (at, part.position) == (48, 80)
    resumed, at = one_pass(None, True)
    assert at == 80
    assert same(resumed, whole)


@pytest.fixture
def stopped(file: Path, settings: Settings) -> Service:
    """A service with the state of a pass of both bundled models, stopped after 48 records."""
    service = Service(settings)
    with service.open_validation(file, [service.zoo.get(name) for name in BUNDLED], batch_size=16) as run:
        for number, _ in enumerate(run, start=1):
            if number == 3:
                break
        run.checkpoint.save(run.validation.sums)
    return service


def measured(run: ValidationRun) -> dict[str, tuple[int, int]]:
    finish(run.validation)
    return {name: (sums.loss, int(sums.class_top1.sum())) for name, sums in run.validation.sums.models.items()}


@pytest.mark.parametrize("names", [BUNDLED[::-1], BUNDLED[:1], BUNDLED[1:]])
def test_models_in_another_order_or_fewer_go_on(file: Path, stopped: Service, names: list[str]) -> None:
    cards = [stopped.zoo.get(name) for name in names]
    with stopped.open_validation(file, cards, batch_size=16, resume=True) as run:
        assert run.resumed_at == 48
        resumed = measured(run)
        run.checkpoint.save(run.validation.sums)
    with stopped.open_validation(file, cards, batch_size=16) as run:
        assert resumed == measured(run)
    with stopped.open_validation(file, cards, batch_size=16, resume=True) as run:
        assert run.resumed_at == 150
    if len(names) < len(BUNDLED):
        both = [stopped.zoo.get(name) for name in BUNDLED]
        with stopped.open_validation(file, both, batch_size=16, resume=True) as run:
            assert run.resumed_at == 48, "the other model's state is still there"


@pytest.mark.parametrize(
    ("names", "options", "why"),
    [
        (BUNDLED, {"batch_size": 32}, "has batch size 16 and this one 32; give the same to continue it, or leave"),
        (BUNDLED, {"part": (0, 2)}, "was shared by 1 process and this one by 2 processes"),
        (
            [*BUNDLED, TRUNCATED],
            {},
            f"does not include {TRUNCATED}; leave {TRUNCATED} out to continue it, or leave out --resume to start",
        ),
        ([*BUNDLED, TRUNCATED], {"batch_size": 32}, f"and does not include {TRUNCATED}; give the same to continue it"),
    ],
)
def test_a_pass_that_cannot_go_on_says_why(
    file: Path, stopped: Service, names: list[str], options: dict[str, Any], why: str
) -> None:
    cards = [stopped.zoo.get(name) for name in names]
    with pytest.raises(UsageError, match="The saved pass over") as refused:
        stopped.open_validation(file, cards, resume=True, **{"batch_size": 16, **options})
    assert why in str(refused.value)


def test_a_state_of_another_file_or_slice_is_not_taken(file: Path, stopped: Service, settings: Settings) -> None:
    cards = [stopped.zoo.get(V5)]
    with stopped.open_validation(file, cards, batch_size=16, part=(0, 3)) as run:
        next(iter(run))
        run.checkpoint.save(run.validation.sums)
    with stopped.open_validation(file, cards, batch_size=16, part=(1, 3)) as run:
        assert run.resumed_at is None
    other = [stopped.zoo.get(TRUNCATED)]
    with stopped.open_validation(file, other, batch_size=16, resume=True) as run:
        assert run.resumed_at is None, "no pass of this model was saved"
    file.touch()
    with pytest.raises(UsageError, match="is of another version of the file; give the same"):
        stopped.open_validation(file, cards, batch_size=16, resume=True)


def test_a_damaged_state_is_one_sentence(file: Path, stopped: Service, settings: Settings) -> None:
    (saved,) = (settings.cache_dir / "validations").iterdir()
    saved.write_bytes(saved.read_bytes()[:100])
    both = [stopped.zoo.get(name) for name in BUNDLED]
    with pytest.raises(DataError, match=r"checkpoint .* is damaged"):
        stopped.open_validation(file, both, batch_size=16, resume=True)
    with stopped.open_validation(file, both[:1], batch_size=16, resume=True) as run:
        assert run.resumed_at is None


def test_a_wrong_label_further_on_stops_with_its_record(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "file.lmdb"
    image = encoded(Image.new("RGB", (256, 256)), "JPEG")
    with LmdbWriter(path) as writer:
        for i in range(200):
            writer.put(Record(image, 1000 if i == 101 else 5))
    for decoders in ([decoder(settings)], [decoder(settings), decoder(settings)]):
        validation = Validation(reader := LmdbReader(path), [("m", classifier(0))], decoders)
        with reader, pytest.raises(DataError, match=r"Record 101 of file\.lmdb has label 1000"):
            finish(validation)


@pytest.mark.parametrize("lanes", [1, 2])
def test_stopping_early_ends_the_threads(file: Path, settings: Settings, lanes: int) -> None:
    decoders = [decoder(settings) for _ in range(lanes)]
    with LmdbReader(file) as reader:
        for _ in Validation(reader, [("m", classifier(0))], decoders, batch_size=8):
            break
    assert not [t for t in threading.enumerate() if t.name.startswith("validation-")]


class Interrupted(ModelSums):
    """Two signals arrive while it is being changed."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "loss" and value:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)


def test_a_batch_is_counted_for_all_models_or_for_none(file: Path, settings: Settings) -> None:
    models = [(f"m{seed}", classifier(seed)) for seed in range(2)]
    sums = Sums({"m0": Interrupted(), "m1": ModelSums()})
    with LmdbReader(file) as reader:
        validation = Validation(reader, models, [decoder(settings)], batch_size=16, sums=sums)
        with pytest.raises(KeyboardInterrupt):
            list(stoppable(validation))
    assert sums.position == 16
    assert sums.count + len(sums.unreadable) == 16
    assert [int(one.confused.sum()) for one in sums.models.values()] == [sums.count] * 2


def test_a_pass_that_waits_can_be_stopped_between_two_networks(file: Path, settings: Settings) -> None:
    asked: list[str] = []

    class Slow(Classifier):
        def logits(self, pixels: torch.Tensor) -> torch.Tensor:
            asked.append("slow")
            time.sleep(2.5)
            return super().logits(pixels)

    class Next(Classifier):
        def logits(self, pixels: torch.Tensor) -> torch.Tensor:
            asked.append("next")
            return super().logits(pixels)

    network = LowRankAlexNet("scheme_1", [1] * 8).eval()
    models = [("slow", Slow(network, CPU)), ("next", Next(network, CPU))]
    decoders = [decoder(settings), decoder(settings)]
    with LmdbReader(file) as reader:
        for progress in Validation(reader, models, decoders, batch_size=8):
            assert (progress.done, progress.total) == (0, 150), "no batch is complete after the first second"
            break
    assert asked == ["slow", "slow"]
    assert not [t for t in threading.enumerate() if t.name == "validation-decode"]


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_interrupt_between_any_two_calls_ends_it(file: Path, settings: Settings, lanes: int) -> None:
    decoders = [decoder(settings, "pillow") for _ in range(lanes)]
    ended: list[int] = []

    def interrupted(after: int) -> None:
        calls = itertools.count()

        def interrupt(*_: object) -> None:
            if next(calls) == after:
                raise KeyboardInterrupt

        with LmdbReader(file) as reader:
            try:
                for _ in Validation(reader, [], decoders, batch_size=8):
                    sys.setprofile(interrupt)
            except KeyboardInterrupt:
                ended.append(after)

    # In a thread, so that one that waits for ever fails the test and does not hold it up.
    for after in range(40):
        thread = threading.Thread(target=interrupted, args=[after], daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), f"an interrupt after {after} calls"
    assert ended == list(range(40)), "each was interrupted before its end"
    assert not [t for t in threading.enumerate() if t.name == "validation-decode"]


def test_verify(zoo) -> None:
    card = zoo.get("scheme_2/v5")
    sums = Sums({card.id: ModelSums()})
    sums.class_count[7] = 10_000
    sums.models[card.id].class_top1[7] = 5897
    sums.models[card.id].class_top5[7] = 8177
    sums.position = 10_000
    report = make_report("f", 10_000, sums, [card], 1.0, CONDITIONS)
    assert report.models[0].differences == pytest.approx((0.0, 0.0), abs=1e-9)
    assert disagreements(report, 0.1) == []
    sums.models[card.id].class_top1[7] = 5850
    (sentence,) = disagreements(make_report("f", 10_000, sums, [card], 1.0, CONDITIONS), 0.3)
    assert sentence.startswith("published/scheme_2/v5: top-1 differs by +0.47")


class Certain:
    """A network that is always sure of class 0, with a logit of its own choice."""

    def __init__(self, logit: float) -> None:
        self._logit = logit

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(pixels), 1000)
        logits[:, 0] = self._logit
        return logits


@pytest.mark.parametrize("logit", [1e6, 1e10, 1e30])
def test_a_huge_loss_is_summed_exactly(file: Path, settings: Settings, logit: float) -> None:
    with LmdbReader(file) as reader:
        validation = Validation(reader, [("huge", Certain(logit))], [decoder(settings)], batch_size=64)  # pyright: ignore
        for _ in validation:
            pass
    wrong = validation.sums.count - int(validation.sums.class_count[0])
    exact = wrong * round(float(np.float32(logit)) / LOSS_UNIT)
    # An image of class 0 has a loss of zero, every other one the logit, which swallows the other classes' share.
    assert validation.sums.models["huge"].loss == pytest.approx(exact, rel=1e-5)


def test_a_loss_that_is_not_a_number_is_one_sentence(file: Path, settings: Settings) -> None:
    with LmdbReader(file) as reader:
        validation = Validation(reader, [("odd", Certain(float("nan")))], [decoder(settings)])  # pyright: ignore
        with pytest.raises(WeightsError, match="odd gave a loss that is not a number"):
            list(validation)
