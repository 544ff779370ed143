"""The steps of ``tests.bench.gpu``, each a generator of figures, on the GPU or on few images on the processor."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.data.lmdb.isolated import IsolatedReader
from lowrank_demo.decode.base import Decoder
from lowrank_demo.decode.pillow import PillowDecoder
from lowrank_demo.errors import DataError
from lowrank_demo.lowrank.c_step import Decomposition
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.zoo import Zoo, read_zoo
from lowrank_demo.nn.alexnet import DenseAlexNet, LowRankAlexNet
from lowrank_demo.nn.fuse import inference_form
from lowrank_demo.runtime.processes import Processes
from lowrank_demo.settings import ASSETS, Arithmetic, usable_cpus
from lowrank_demo.train.batches import Batches, LmdbImages
from lowrank_demo.train.config import DataConfig, StageConfig
from lowrank_demo.train.trainer import Trainer
from lowrank_demo.validate.lanes import Lanes
from tests.bench.material import CPU, enlarged, published, real_records, write_records
from tests.bench.measure import Finding, Note, Outcome, Unmeasured
from tests.bench.networks import Passes, smallest
from tests.bench.requests import one_photo

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if GPU else CPU
# What repeats a step with other numbers is left out on a processor, which lacks bf16 and takes minutes for it.
_KINDS = ("fp32", "bf16") if GPU else ("fp32",)
_MODELS = 9 if GPU else 2
_MAX_PIXELS = 64_000_000


def tests() -> Iterator[Outcome]:
    """Run the tests marked ``gpu``; what they print goes to the report."""
    yield from streamed(["-m", "gpu", "tests/gpu", *(["-n", "3", "--dist", "loadscope"] if GPU else [])])


def streamed(arguments: Sequence[str]) -> Iterator[Outcome]:
    """Run pytest with these arguments; yield what becomes of each test at once.

    Raises:
        DataError: A test failed, or pytest did.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryFile("w+", errors="replace") as printed, os.fdopen(reading) as lines:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.bench.streaming"]
        command += [f"--stream-to={writing}", *arguments]
        process = subprocess.Popen(command, stdout=printed, stderr=printed, pass_fds=[writing])
        os.close(writing)
        for line in lines:
            what, value = json.loads(line)
            yield Note(what, value) if isinstance(value, str) else Finding(what, value, "s")
        if process.wait():
            printed.seek(0)
            raise DataError(f"The tests marked gpu did not pass: {printed.read().strip()[-1500:]}")


def decoding() -> Iterator[Outcome]:
    """Images per second of decoding alone."""
    records = real_records(400 if GPU else 8)
    small = [record.image for record in records]
    for edge, images in ((256, small), (640, [enlarged(image, 640) for image in small])):
        for name, make in _decoders():
            what = f"decoding, shortest edge {edge}, {name}"
            try:
                decoder = make()
                yield Finding(
                    what, _images_per_second(lambda d=decoder, i=images: _decode(d, i), len(images)), "images/s"
                )
            except (ImportError, OSError, RuntimeError) as error:
                yield Unmeasured(what, str(error)[:400])


def arithmetic() -> Iterator[Outcome]:
    """Images per second of the networks alone, and their memory."""
    zoo, size = _zoo(), 256 if GPU else 1
    one, nine = [smallest(zoo)], published(zoo)[:_MODELS]
    images = torch.randn(size, 3, 227, 227, device=DEVICE)
    for name, cards in (("scheme 2 v5", one), ("nine models", nine)):
        for kind in (*_KINDS, "tf32"):
            classifiers = [_classifier(card, "bf16" if kind == "bf16" else "fp32") for card in cards]
            _reset_memory()
            with _TensorCores(kind == "tf32"):
                rate = _images_per_second(lambda c=classifiers: [one.logits(images) for one in c], size)
            yield Finding(f"{name} alone, {kind}, {size} images a batch", rate, "images/s")
            yield _memory(f"{name} alone, {kind}")
    with _TensorCores(False):
        contiguous = _module(one[0], torch.float32).to(memory_format=torch.contiguous_format)  # pyright: ignore
        rate = _images_per_second(lambda: contiguous(images), size)
        yield Finding(f"scheme 2 v5 alone, fp32, not channels last, {size} images a batch", rate, "images/s")
    for kind in _KINDS:
        classifier = _classifier(one[0], kind)
        single = images[:1].clone()
        milliseconds = 1e3 / _images_per_second(partial(classifier.logits, single), 1)
        yield Finding(f"scheme 2 v5 alone, {kind}, one image", milliseconds, "ms")


def compiled() -> Iterator[Outcome]:
    """CUDA graphs and ``torch.compile`` against plain torch, for the smallest network."""
    size = 256 if GPU else 2
    for kind in _KINDS:
        dtype = torch.bfloat16 if kind == "bf16" else torch.float32
        module = _module(smallest(_zoo()), dtype)
        for count in (1, size):
            images = torch.randn(count, 3, 227, 227, device=DEVICE).to(memory_format=torch.channels_last)
            what = f"scheme 2 v5 alone, {kind}, {count} images a batch"
            with torch.inference_mode():
                yield Finding(what, _images_per_second(partial(module, images), count), "images/s")
                if not GPU:
                    yield Note(f"{what}, CUDA graph and torch.compile", "no GPU")
                    continue
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    module(images)
                yield Finding(f"{what}, CUDA graph", _images_per_second(graph.replay, count), "images/s")
                faster = torch.compile(module)
                began = time.perf_counter()
                faster(images)
                torch.cuda.synchronize()
                yield Finding(f"{what}, torch.compile, first call", time.perf_counter() - began, "s")
                yield Finding(f"{what}, torch.compile", _images_per_second(partial(faster, images), count), "images/s")


def validation() -> Iterator[Outcome]:
    """Images per second of a whole pass over an LMDB file, with one and with nine models."""
    zoo = _zoo()
    with tempfile.TemporaryDirectory() as folder:
        count = 8192 if GPU else 2
        file = Path(folder, "records.lmdb")
        write_records(file, real_records(400 if GPU else 8), count)
        for name, make in _decoders(loads=(1.0,)):
            for kind in _KINDS:
                for models, cards in (("one model", [smallest(zoo)]), ("nine models", published(zoo)[:_MODELS])):
                    what = f"validation of {models}, {name}, {kind}"
                    try:
                        passes = Passes(Lanes(1, torch.get_num_threads()), [make()])
                    except (ImportError, OSError, RuntimeError) as error:
                        yield Unmeasured(what, str(error)[:400])
                        continue
                    classifiers = [(card.id, _classifier(card, kind)) for card in cards]
                    # On the processor that decodes, Pillow takes too long for all of them.
                    few = count if name.startswith("dali") else count // 2
                    _reset_memory()
                    with IsolatedReader(file) as reader:
                        passes.over(reader, classifiers, min(few, 256))
                        began = time.perf_counter()
                        passes.over(reader, classifiers, few)
                        yield Finding(what, few / (time.perf_counter() - began), "images/s")
                    yield _memory(what)


def requests() -> Iterator[Outcome]:
    """Milliseconds of one photo and of eight through the service."""
    yield from one_photo([record.image for record in real_records(8)], 100 if GPU else 8)


def c_step() -> Iterator[Outcome]:
    """Seconds of a C step's decomposition of the two largest layers."""
    for name, shape in (("fc6", (4096, 9216)), ("fc7", (4096, 4096))) if GPU else (("fc8", (1000, 512)),):
        for device in dict.fromkeys((DEVICE, CPU)):
            weight = torch.randn(shape, device=device)
            seconds = [
                _seconds(lambda w=weight: Decomposition.of(w, "scheme_1")) for _ in range(3 if device == DEVICE else 1)
            ]
            yield Finding(f"C step of {name} on {device.type}", seconds[-1], "s")


def training() -> Iterator[Outcome]:
    """Training images per second: computing alone, and with decoding and augmentation."""
    card = smallest(_zoo())
    size, count = (256, 8192) if GPU else (2, 4)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "records.lmdb")
        write_records(file, real_records(400 if GPU else 4), count)
        for name, make in (("scheme 2 v5", lambda: LowRankAlexNet(card.scheme, card.ranks)), ("dense", DenseAlexNet)):
            for kind in _KINDS:
                stage = StageConfig(precision=kind, learning_rate=1e-3)
                resident = _Resident(size, 20 if GPU else 1)
                _reset_memory()
                trainer = _trainer(make(), stage, resident)
                trainer.train_epoch(rate=1.0)
                seconds = _seconds(lambda t=trainer: t.train_epoch(rate=1.0))
                rate = size * resident.per_epoch / seconds
                yield Finding(f"training {name}, {kind}, computing alone", rate, "images/s")
                yield _memory(f"training {name}, {kind}")
        images = LmdbImages(file, DataConfig(train=file, validation=file), 0)
        batches = Batches(images, size, usable_cpus() - 2 if GPU else 0, seed=0)
        trainer = _trainer(LowRankAlexNet(card.scheme, card.ranks), StageConfig(precision="bf16"), batches)
        began = time.perf_counter()
        first = 0.0
        for _ in batches.epoch(0):
            first = first or time.perf_counter() - began
        loading = time.perf_counter() - began - first
        yield Finding("training batches: start of the workers and the first batch", first, "s")
        yield Finding("training batches alone", (count - size) / loading, "images/s")
        seconds = _seconds(lambda: trainer.train_epoch(rate=1.0)) - first
        yield Finding("training scheme 2 v5, bf16, with decoding", (count - size) / seconds, "images/s")


class _Resident(Batches):
    """The same batch again and again, on the device from the start."""

    def __init__(self, size: int, batches: int) -> None:
        self.per_epoch = batches
        images = torch.randn(size, 3, 227, 227, device=DEVICE)
        self._batch = images, torch.arange(size) % 1000, torch.empty(size, 0)

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        del number
        for _ in range(self.per_epoch):
            yield self._batch


class _TensorCores:
    """Whether products and convolutions of fp32 values may use tensor cores (TF32)."""

    def __init__(self, allowed: bool) -> None:
        self._allowed = allowed

    def __enter__(self) -> None:
        self._before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self._allowed

    def __exit__(self, *_: object) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._before


def _decoders(loads: Sequence[float] = (0.0, 0.65, 1.0)) -> Iterator[tuple[str, Callable[[], Decoder]]]:
    def dali(device: torch.device, load: float) -> Decoder:
        from lowrank_demo.decode.dali import DaliDecoder

        return DaliDecoder(_MAX_PIXELS, usable_cpus(), device, load)

    for load in loads if GPU else ():
        yield f"dali-gpu, {load:.2f} of a batch by the JPEG unit", lambda load=load: dali(DEVICE, load)
    if not GPU:  # beside a GPU, DALI aborts the process when it closes a pipeline of the processor
        yield "dali-cpu", lambda: dali(CPU, 1.0)
    yield "pillow", lambda: PillowDecoder(_MAX_PIXELS, usable_cpus())


def _decode(decoder: Decoder, images: Sequence[bytes]) -> None:
    for start in range(0, len(images), 64):
        decoder.decode(images[start : start + 64], oriented=False)


def _zoo() -> Zoo:
    return read_zoo(ASSETS / "zoo.json")


def _classifier(card: ModelCard, precision: str) -> Classifier:
    return Classifier(LowRankAlexNet(card.scheme, card.ranks), DEVICE, Arithmetic("torch", precision))


def _module(card: ModelCard, dtype: torch.dtype) -> nn.Module:
    return inference_form(LowRankAlexNet(card.scheme, card.ranks), dtype).to(DEVICE)


def _trainer(network: nn.Module, stage: StageConfig, batches: Batches) -> Trainer:
    return Trainer(network, stage, 100, batches, batches, Processes.join(), Path(os.devnull))


def _seconds(work: Callable[[], object]) -> float:
    _wait()
    began = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - began


def _images_per_second(work: Callable[[], object], count: int) -> float:
    """Return the median rate over about a second, after two runs that are not counted."""
    _seconds(work)
    once = _seconds(work)
    repeats = max(1, min(200, int(0.25 / once))) if GPU else 1

    def several() -> None:
        for _ in range(repeats):
            work()

    return count * repeats / statistics.median(_seconds(several) for _ in range(3 if GPU else 1))


def _wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def _reset_memory() -> None:
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _memory(what: str) -> Outcome:
    """Return the memory of the GPU that torch needed at most, and that all of this process holds now."""
    if not GPU:
        return Note(f"{what}: memory of the GPU", "no GPU")
    free, whole = torch.cuda.mem_get_info()
    peak = torch.cuda.max_memory_allocated()
    return Note(f"{what}: memory of the GPU", f"{peak / 1e9:.2f} GB torch's peak, {(whole - free) / 1e9:.2f} GB in use")


STEPS: dict[str, Callable[[], Iterator[Outcome]]] = {
    "tests": tests,
    "decoding": decoding,
    "arithmetic": arithmetic,
    "validation": validation,
    "requests": requests,
    "c_step": c_step,
    "training": training,
    "compiled": compiled,
}
