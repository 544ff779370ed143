"""One pass over an LMDB file for any number of models: each batch is read and decoded once.

All sums are integers (losses in multiples of 2⁻³²), batches have fixed bounds, and no batch is dropped. A pass that was
stopped and resumed therefore ends with the same bits as one that was not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from ..classify.inference import Classifier
from ..data.lmdb.reader import Records, check_label
from ..data.lmdb.record import Record
from ..decode.base import Decoder
from ..errors import OutOfMemory, WeightsError
from ..runtime.progress import Meter, Progress
from ..runtime.stopping import undisturbed
from ..runtime.words import counted
from .sums import LOSS_UNIT, ModelSums, Sums, Unreadable

_AHEAD = 3
_LOOK_SECONDS = 1.0


_Measured = list[tuple[str, torch.Tensor]]
"""What :func:`_measure` returns, for each model."""


@dataclass(frozen=True)
class _Batch:
    start: int
    stop: int
    pixels: torch.Tensor
    labels: torch.Tensor
    unreadable: tuple[Unreadable, ...]
    measured: _Measured | None = None
    """What the networks answer; None before they are asked."""


@dataclass(frozen=True)
class _Failed:
    """A batch that could not be read or measured."""

    start: int
    error: BaseException


class _Work:
    """What a pass and its producers hand to each other.

    A KeyboardInterrupt can leave a Queue's lock taken for ever; a SimpleQueue survives one anywhere.

    Args:
        order: First record of each batch.
        producers: Number of producers.
    """

    def __init__(self, order: range, producers: int) -> None:
        self.starts: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        """First records of the batches to produce; None tells a producer that there are no more."""
        self.ready: queue.SimpleQueue[_Batch | _Failed] = queue.SimpleQueue()
        self.room: queue.SimpleQueue[None] = queue.SimpleQueue()
        """An item for each batch that may be produced before the next one is counted."""
        self.stopped = threading.Event()
        for start in [*order, *[None] * producers]:
            self.starts.put(start)
        for _ in range(producers + _AHEAD):
            self.room.put(None)


class Validation:
    """One pass. Iterate over it to do the work; it yields progress after every batch, and each second it waits for one.

    With one decoder, a second thread decodes, a few batches ahead of the networks. With several, each has a lane: a
    thread that decodes and computes whole batches. ``sums`` holds what has been counted, ``rate`` the images per
    second from the start until now; both may be read whenever progress is yielded. The progress states no rate until
    each lane has done a batch.

    Args:
        reader: The file.
        models: Id and network of each model.
        decoders: Used by this pass alone. With several, the networks must allow calls from several threads.
        batch_size: Records in a batch; a resumed pass must use the same number.
        sums: State to continue from; None starts at the beginning.
        records: The slice of the file to measure, from :func:`slice_of`; None takes the whole file.
    """

    def __init__(
        self,
        reader: Records,
        models: Sequence[tuple[str, Classifier]],
        decoders: Sequence[Decoder],
        *,
        batch_size: int = 64,
        sums: Sums | None = None,
        records: range | None = None,
    ) -> None:
        self._reader = reader
        self._models = models
        self._decoders = tuple(decoders)
        self._reading = threading.Lock()
        self._batch_size = batch_size
        self._records = records if records is not None else range(len(reader))
        self.rate = 0.0
        self.sums = sums or Sums({name: ModelSums() for name, _ in models}, self._records.start)

    def __iter__(self) -> Iterator[Progress]:
        order = range(self.sums.position, self._records.stop, self._batch_size)
        work = _Work(order, len(self._decoders))
        producers = [
            threading.Thread(target=self._produce, args=(decoder, work), daemon=True, name="validation-decode")
            for decoder in self._decoders
        ]
        meter = Meter(len(self._records), self.sums.position - self._records.start)
        batches = 0
        try:
            for producer in producers:
                producer.start()
            for batch in _in_order(order, work.ready):
                if batch is not None:
                    work.room.put(None)
                    measured = self._measure(batch, work.stopped) if batch.measured is None else batch.measured
                    with undisturbed():
                        self._count(batch, measured)
                    batches += 1
                progress = meter.at(self.sums.position - self._records.start)
                self.rate = progress.per_second
                # Lanes finish their first batches at nearly the same time: before that, their rate says little.
                yield progress if batches >= len(self._decoders) else replace(progress, per_second=0.0)
        except (MemoryError, RuntimeError) as error:
            if not _is_lack_of_memory(error):
                raise
            raise OutOfMemory(
                f"There is not enough memory for batches of {counted(self._batch_size, 'image')}, "
                f"{len(self._decoders)} at a time; choose a smaller batch size or close other programs."
            ) from error
        finally:
            # Undisturbed: torch aborts a program that ends while a thread computes, and in Python 3.12 and older an
            # exception in join makes a thread that runs look as if it had ended.
            with undisturbed():
                work.stopped.set()
                for _ in producers:
                    work.room.put(None)
                for producer in producers:
                    if producer.is_alive():
                        producer.join()

    def _produce(self, decoder: Decoder, work: _Work) -> None:
        """Put batches into ``work.ready``: decoded by a single producer, and measured if there are several."""
        # Room first: then the batch that is counted next always has some.
        while True:
            work.room.get()
            start = work.starts.get()
            if start is None or work.stopped.is_set():
                return
            try:
                batch = self._read(start, decoder)
                if len(self._decoders) > 1:
                    # Batches that wait to be counted need no pixels.
                    batch = replace(batch, measured=self._measure(batch, work.stopped), pixels=torch.empty(0))
            except BaseException as error:
                work.ready.put(_Failed(start, error))
                return
            work.ready.put(batch)

    def _read(self, start: int, decoder: Decoder) -> _Batch:
        stop = min(start + self._batch_size, self._records.stop)
        with self._reading:
            outcomes = self._reader.read_each(range(start, stop))
        records = [(i, outcome) for i, outcome in enumerate(outcomes, start) if isinstance(outcome, Record)]
        for index, record in records:
            check_label(record.label, index, self._reader.name)
        decoded = decoder.decode([record.image for _, record in records], oriented=False)
        unreadable = [Unreadable(i, str(o)) for i, o in enumerate(outcomes, start) if not isinstance(o, Record)]
        unreadable += [Unreadable(records[row][0], str(error)) for row, error in decoded.refused.items()]
        labels = torch.tensor([records[row][1].label for row in decoded.rows], dtype=torch.int64)
        return _Batch(start, stop, decoded.pixels, labels, tuple(sorted(unreadable, key=lambda u: u.index)))

    @torch.inference_mode()
    def _measure(self, batch: _Batch, stopped: threading.Event) -> _Measured:
        measured: _Measured = []
        for name, classifier in self._models:
            # Once the pass is stopped, nobody counts this batch.
            if stopped.is_set() or not len(batch.labels):
                break
            # A GPU computes while the next network is started: nothing waits for a result until all have been started.
            measured.append((name, _measure(classifier, batch)))
        return measured

    def _count(self, batch: _Batch, measured: _Measured) -> None:
        """Add a batch to the sums of all models, or of none if one fails."""
        outcomes = [(name, *_whole_numbers(name, values)) for name, values in measured]
        truth = batch.labels.numpy()
        for name, losses, best, in_top5 in outcomes:
            sums = self.sums.models[name]
            sums.loss += sum(losses)
            np.add.at(sums.class_top1, truth, best == truth)
            np.add.at(sums.class_top5, truth, in_top5)
            np.add.at(sums.confused, (truth, best), 1)
        np.add.at(self.sums.class_count, truth, 1)
        self.sums.unreadable += batch.unreadable
        self.sums.position = batch.stop


def _in_order(order: range, ready: queue.SimpleQueue[_Batch | _Failed]) -> Iterator[_Batch | None]:
    """Yield the batches in the order of the file, and None each second in which the next one has not come.

    Raises:
        BaseException: What a batch failed with, after the batches before it: these count.
    """
    early: dict[int, _Batch | _Failed] = {}
    for start in order:
        while start not in early:
            try:
                item = ready.get(timeout=_LOOK_SECONDS)
            except queue.Empty:  # let the caller show that the work goes on, or stop it
                yield None
            else:
                early[item.start] = item
        batch = early.pop(start)
        if isinstance(batch, _Failed):
            raise batch.error
        yield batch


def slice_of(count: int, batch_size: int, rank: int, world: int) -> range:
    """Return the records that process ``rank`` of ``world`` measures.

    A slice consists of whole batches of the undivided pass. Every image therefore has the same neighbours, and gives
    the same bits, with any number of processes.
    """
    batches = -(-count // batch_size)
    first, last = batches * rank // world, batches * (rank + 1) // world
    return range(min(first * batch_size, count), min(last * batch_size, count))


def _is_lack_of_memory(error: Exception) -> bool:
    """Tell whether Python, NumPy, torch or DALI could not get memory."""
    lacks = ("can't allocate memory", "not enough memory", "bad_alloc", "bad allocation")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(one in str(error) for one in lacks)


def _measure(classifier: Classifier, batch: _Batch) -> torch.Tensor:
    """Return float64 [3, n] on the network's device: cross-entropy, most probable class, label among the top five."""
    logits = classifier.logits(batch.pixels)
    labels = batch.labels.to(logits.device)
    losses = F.cross_entropy(logits, labels, reduction="none")
    top = logits.topk(5).indices
    return torch.stack([losses.double(), top[:, 0].double(), (top == labels[:, None]).any(1).double()])


def _whole_numbers(name: str, measured: torch.Tensor) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Return integers: cross-entropies in ``LOSS_UNIT``, most probable classes, 1 where the label is in the top five.

    Cross-entropies are Python integers, which have no largest value.

    Raises:
        WeightsError: A cross-entropy is infinite or not a number.
    """
    values = measured.cpu().numpy()
    if not np.isfinite(values).all():
        raise WeightsError(f"{name} gave a loss that is not a number; its weights cannot be used.")
    losses, best, in_top5 = values
    return [round(loss / LOSS_UNIT) for loss in losses.tolist()], best.astype(np.int64), in_top5.astype(np.int64)
