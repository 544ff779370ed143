"""Networks and validation on the CPU, against the machine's rate of multiplying matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.data.lmdb.reader import LmdbReader, Records
from lowrank_demo.decode.base import Decoder
from lowrank_demo.decode.choose import choose_decoder
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.runtime.allocator import keep_freed_memory
from lowrank_demo.settings import ENGINES, Arithmetic, Settings, has_openvino
from lowrank_demo.validate.evaluate import Validation, lanes_for
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
    decoder, in_lanes = cpu_decoder(), lane_decoders()
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
            models = [(card.id, random_classifier(card, Arithmetic(engine, precision))) for card in cards]
            decoders = in_lanes if engine == "torch" else [decoder]
            with LmdbReader(file) as reader:
                product_s, all_s = interleaved([product, partial(validate_in_lanes, reader, models, images, decoders)])
            rate = product_macs / product_s
            yield Finding(f"{precision} products of matrices", rate / 1e9, "billion MACs/s")
            yield Result(what, all_s, macs / rate, "s", "their MACs at that rate", goal)


def overlap(zoo: Zoo, file: Path, images: int) -> Iterator[Outcome]:
    """Validation against the processor time of decoding and networks, for the smallest model and for all."""
    # Many batches: cores are idle only at the end of a pass, where there are fewer batches left than cores.
    yield from _overlap_of("one small model", [smallest(zoo)], file, 16 * images)
    yield from _overlap_of("nine models", published(zoo), file, 4 * images)


def _overlap_of(name: str, cards: Sequence[ModelCard], file: Path, count: int) -> Iterator[Outcome]:
    models = [(card.id, random_classifier(card)) for card in cards]
    decoder = cpu_decoder()
    with LmdbReader(file) as reader:
        records = [reader[i].image for i in range(count)]
        parts = [records[i : i + _BATCH] for i in range(0, count, _BATCH)]
        decoded = [decoder.decode(part, oriented=False).pixels for part in parts]
        few = max(1, len(parts) // 4)

        def decode() -> None:
            for part in parts:
                decoder.decode(part, oriented=False)

        def infer(batches: int = len(decoded)) -> None:
            for pixels in decoded[:batches]:
                for _, classifier in models:
                    classifier.logits(pixels)

        def both() -> None:
            validate_in_lanes(reader, models, count, in_lanes)

        threads = torch.get_num_threads()
        in_lanes, singles = lane_decoders(), [cpu_decoder(1) for _ in range(threads)]

        def by_threads(decoders: Sequence[Decoder]) -> None:
            """Let a thread for each decoder decode and compute the same few batches by itself."""
            torch.set_num_threads(1)
            with ThreadPoolExecutor(len(decoders)) as pool:
                done = [pool.submit(by_one, decoder) for decoder in decoders]
            torch.set_num_threads(threads)
            for one in done:
                one.result()

        def by_one(single: Decoder) -> None:
            for part in parts[:few]:
                single.decode(part, oriented=False)
            infer(few)

        # By one thread: threads that share a layer spend processor time on waiting for one another.
        works = [decode, infer, both, lambda: by_threads(singles[:1]), lambda: by_threads(singles)]
        decoding, inferring, all_of_it, alone, apart = interleaved_times(works, repeats=5)
    yield Finding(f"{name}: decoding alone", count / decoding.seconds, "images/s")
    yield Finding(f"{name}: the networks alone", count / inferring.seconds, "images/s")
    some = min(count, few * _BATCH)
    at_once = threads * some / apart.seconds
    yield Finding(f"{name}: all cores at once, none of which waits for another", at_once, "images/s")
    # Decoder and networks share the cores: together they need the processor time of both.
    rate, limit = count / all_of_it.seconds, threads * some / alone.processor
    yield Result(f"{name}: validation", rate, limit, "images/s", "both processor times", 0.95, at_least=True)


def growth(zoo: Zoo, file: Path, images: int) -> Iterator[Outcome]:
    """Time against the number of images, of models, and the batch size: a straight line each."""
    small = [("small", random_classifier(smallest(zoo)))]
    decoder = cpu_decoder()
    with LmdbReader(file) as reader:
        counts = [images, 2 * images, 3 * images, 4 * images]
        times = [seconds(lambda n=n: validate(reader, small, n, decoder)) for n in counts]
        yield from straight_line("time against images", counts, times, "ms for each image", 1e3)
        copies = [1, 2, 3, 4]
        times = [
            seconds(lambda n=n: validate(reader, [(str(i), small[0][1]) for i in range(n)], images, decoder))
            for n in copies
        ]
        yield from straight_line("time against models", copies, times, f"s for each model and {images} images", 1.0)
        sizes = [16, 32, 64]
        pixels = decoder.decode([reader[i].image for i in range(max(sizes))], oriented=False).pixels
        times = [seconds(lambda n=n: small[0][1].logits(pixels[:n]), 5) for n in sizes]
        yield from straight_line("time against batch size", sizes, times, "ms for each image of a batch", 1e3)


def lane_decoders() -> list[Decoder]:
    """Return a decoder for each lane that ``validate`` has, with its share of the threads."""
    threads = torch.get_num_threads()
    count = lanes_for(threads)
    return [cpu_decoder(max(1, threads // count)) for _ in range(count)]


def validate_in_lanes(
    reader: Records, models: Sequence[tuple[str, Classifier]], count: int, decoders: Sequence[Decoder]
) -> None:
    """One pass over the first records of a file, with a lane for each decoder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // len(decoders)))
    try:
        validate(reader, models, count, decoders[0], decoders[1:])
    finally:
        torch.set_num_threads(threads)


def straight_line(what: str, x: Sequence[int], y: Sequence[float], unit: str, scale: float) -> Iterator[Outcome]:
    """The slope of a straight line through the points, and how straight it is."""
    slope, start = np.polyfit(x, y, 1)
    spread = float(np.abs(np.polyval([slope, start], x) / np.asarray(y) - 1).max())
    yield Finding(what, float(slope) * scale, unit)
    yield Result(f"{what}: furthest point from the line", 1 + spread, 1.0, "×", "the line", 1.1)


def validate(
    reader: Records,
    models: Sequence[tuple[str, Classifier]],
    count: int,
    decoder: Decoder,
    lanes: Sequence[Decoder] = (),
) -> None:
    """One pass over the first records of a file."""
    for _ in Validation(reader, models, decoder, batch_size=_BATCH, records=range(count), lanes=lanes):
        pass


def cpu_decoder(threads: int | None = None) -> Decoder:
    """A decoder as a pass on the processor has it."""
    settings = Settings.from_environment()
    return choose_decoder(replace(settings, threads=threads or settings.threads), CPU).decoder


def smallest(zoo: Zoo) -> ModelCard:
    """The published model with the fewest MACs."""
    return min(published(zoo), key=lambda card: card.cost.macs)
