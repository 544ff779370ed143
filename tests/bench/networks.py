"""Networks and validation on the CPU, against the machine's rate of multiplying matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.data.lmdb.reader import LmdbReader, Records
from lowrank_demo.decode.base import Decoder
from lowrank_demo.decode.choose import choose_decoder
from lowrank_demo.errors import SettingError
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.runtime.allocator import keep_freed_memory
from lowrank_demo.runtime.progress import Progress
from lowrank_demo.serve.machine import Machine
from lowrank_demo.settings import ENGINES, Arithmetic, Settings, has_openvino
from lowrank_demo.validate.evaluate import Validation
from lowrank_demo.validate.lanes import Lanes
from tests.bench.material import CPU, published, random_classifier
from tests.bench.measure import (
    Finding,
    Outcome,
    Result,
    Unmeasured,
    interleaved,
    interleaved_times,
    matrix_product,
    seconds,
)

_BATCH = 64
_SOME = 256
"""Photos of the file that differ."""

_Part = Callable[[Zoo, Path, int], Iterator[Outcome]]


def as_the_command(part: _Part, zoo: Zoo, file: Path, images: int) -> Iterator[Outcome]:
    """Measure a part in a process that keeps freed memory, as ``validate`` does."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=keep_freed_memory) as pool:
        yield from pool.submit(_outcomes, part, zoo, file, images).result()


def _outcomes(part: _Part, zoo: Zoo, file: Path, images: int) -> list[Outcome]:
    return list(part(zoo, file, images))


def compute(zoo: Zoo, file: Path, images: int) -> Iterator[Outcome]:
    """All nine models over an LMDB file, decoding included, against their MACs at the measured rate."""
    cards = published(zoo)
    macs = images * sum(card.cost.macs for card in cards)
    rates: dict[str, float] = {}
    for precision, dtype, goal in (("fp32", torch.float32, 1.1), ("bf16", torch.bfloat16, 1.25)):
        product, product_macs = matrix_product(dtype)
        rates[precision] = product_macs / seconds(product)
        for engine in ENGINES:
            what = f"nine models, {images} images, {engine} {precision}"
            if rates[precision] < rates["fp32"]:
                yield Unmeasured(what, "this processor does not multiply it faster than fp32")
                continue
            if engine == "openvino" and not has_openvino():
                yield Unmeasured(what, "it is not installed: pip install -e '.[openvino]'")
                continue
            by = Arithmetic(engine, precision)
            try:
                models, passes = [(card.id, random_classifier(card, by)) for card in cards], Passes.by(by)
            except SettingError as error:
                yield Unmeasured(what, str(error))
                continue
            with LmdbReader(file) as reader:
                product_s, all_s = interleaved([product, partial(passes.over, reader, models, images)])
            rate = product_macs / product_s
            yield Finding(f"{precision} products of matrices", rate / 1e9, "billion MACs/s")
            yield Result(what, all_s, macs / rate, "s", "their MACs at that rate", goal)


def overlap(zoo: Zoo, file: Path, images: int) -> Iterator[Outcome]:
    """Validation against the processor time of decoding and networks, for the smallest model and for all."""
    # Many batches: cores are idle only at the end of a pass, where there are fewer batches left than cores.
    yield from overlap_of("one small model", [smallest(zoo)], file, 16 * images)
    yield from overlap_of("nine models", published(zoo), file, 4 * images)


def overlap_of(name: str, cards: Sequence[ModelCard], file: Path, count: int) -> Iterator[Outcome]:
    """A validation of so many images against the processor time that single threads need for some of them."""
    models = [(card.id, random_classifier(card)) for card in cards]
    passes, threads = Passes.by(), torch.get_num_threads()
    decoder, singles = cpu_decoder(), [cpu_decoder(1) for _ in range(threads)]
    some = min(count, _SOME)
    with LmdbReader(file) as reader:
        images = [reader[i].image for i in range(some)]
        batches = [images[start : start + _BATCH] for start in range(0, some, _BATCH)]
        decoded = [decoder.decode(batch, oriented=False).pixels for batch in batches]

        def decode(by: Decoder = decoder) -> None:
            for batch in batches:
                by.decode(batch, oriented=False)

        def infer() -> None:
            for pixels in decoded:
                for _, classifier in models:
                    classifier.logits(pixels)

        def by_single_threads(decoders: Sequence[Decoder]) -> None:
            """Let a thread for each decoder decode and compute all batches by itself."""
            with Lanes(len(decoders), 1).computing(), ThreadPoolExecutor(len(decoders)) as pool:
                for done in [pool.submit(lambda one=one: (decode(one), infer())) for one in decoders]:
                    done.result()

        # By one thread: threads that share a layer spend processor time on waiting for one another.
        decoding, inferring, whole, alone, at_once = interleaved_times(
            [
                decode,
                infer,
                lambda: passes.over(reader, models, count),
                lambda: by_single_threads(singles[:1]),
                lambda: by_single_threads(singles),
            ],
            repeats=5,
        )
    yield Finding(f"{name}: decoding alone", some / decoding.seconds, "images/s")
    yield Finding(f"{name}: the networks alone", some / inferring.seconds, "images/s")
    together = threads * some / at_once.seconds
    yield Finding(f"{name}: a thread on each core, none of which waits for another", together, "images/s")
    limit = threads * some / alone.processor
    what = "processor time of one thread alone, divided by the cores"
    yield Result(f"{name}: validation", count / whole.seconds, limit, "images/s", what, 0.95, at_least=True)


def growth(zoo: Zoo, file: Path, images: int) -> Iterator[Outcome]:
    """Time against the number of images, of models, and the batch size: a straight line each."""
    small = [("small", random_classifier(smallest(zoo)))]
    passes = Passes.by()
    with LmdbReader(file) as reader:
        counts = [images, 2 * images, 3 * images, 4 * images]
        times = [seconds(lambda n=n: passes.over(reader, small, n)) for n in counts]
        yield from straight_line("time against images", counts, times, "ms for each image", 1e3)
        copies = [1, 2, 3, 4]
        times = [
            seconds(lambda n=n: passes.over(reader, [(str(i), small[0][1]) for i in range(n)], images)) for n in copies
        ]
        yield from straight_line("time against models", copies, times, f"s for each model and {images} images", 1.0)
        sizes = [16, 32, 64]
        pixels = cpu_decoder().decode([reader[i].image for i in range(max(sizes))], oriented=False).pixels
        times = [seconds(lambda n=n: small[0][1].logits(pixels[:n]), 5) for n in sizes]
        yield from straight_line("time against batch size", sizes, times, "ms for each image of a batch", 1e3)


@dataclass(frozen=True)
class Passes:
    """What ``validate`` makes passes with on a processor."""

    lanes: Lanes
    decoders: Sequence[Decoder]

    @classmethod
    def by(cls, arithmetic: Arithmetic = Arithmetic()) -> Passes:
        """Divide this machine's threads as ``validate`` does."""
        by = {"engine": arithmetic.engine, "precision": arithmetic.precision}
        machine = Machine(replace(Settings.from_environment(), device="cpu", **by), lends_gpu=False)
        lanes = machine.lanes()
        return cls(lanes, machine.lane_decoders(lanes.count))

    def over(
        self,
        reader: Records,
        models: Sequence[tuple[str, Classifier]],
        count: int,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Make one pass over the first records of a file."""
        with self.lanes.computing():
            for progress in Validation(reader, models, self.decoders, batch_size=_BATCH, records=range(count)):
                on_progress(progress)


def straight_line(what: str, x: Sequence[int], y: Sequence[float], unit: str, scale: float) -> Iterator[Outcome]:
    """The slope of a straight line through the points, and how straight it is."""
    slope, start = np.polyfit(x, y, 1)
    spread = float(np.abs(np.polyval([slope, start], x) / np.asarray(y) - 1).max())
    yield Finding(what, float(slope) * scale, unit)
    yield Result(f"{what}: furthest point from the line", 1 + spread, 1.0, "×", "the line", 1.1)


def cpu_decoder(threads: int | None = None) -> Decoder:
    """A decoder as a pass on the processor has it."""
    settings = Settings.from_environment()
    return choose_decoder(replace(settings, threads=threads or settings.threads), CPU).decoder


def smallest(zoo: Zoo) -> ModelCard:
    """The published model with the fewest MACs."""
    return min(published(zoo), key=lambda card: card.cost.macs)
