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
from ..errors import WeightsError
from ..runtime.progress import Meter, Progress
from .sums import LOSS_UNIT, ModelSums, Sums, Unreadable

_MOST_LANES = 4
"""Each lane keeps the memory of a decoder and of a batch."""
_AHEAD = 3


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
    error: Exception


def lanes_for(threads: int) -> int:
    """Return how many batches to decode and compute side by side; their shares of the threads are equal.

    Lanes of one thread may be twice as many as the threads: while one waits for its decoder, another has the core.
    """
    if threads <= _MOST_LANES:
        return min(2 * threads, _MOST_LANES)
    return max(lanes for lanes in range(1, _MOST_LANES + 1) if threads % lanes == 0)


class Validation:
    """One pass. Iterate over it to do the work; it yields progress after every batch.

    A second thread decodes, a few batches ahead of the networks; with lanes, each decodes and computes whole batches.
    ``sums`` holds what has been counted, ``rate`` the images per second; both may be read between batches.

    Args:
        reader: The file.
        models: Id and network of each model.
        decoder: Used by this pass alone.
        batch_size: Records in a batch; a resumed pass must use the same number.
        sums: State to continue from; None starts at the beginning.
        records: The slice of the file to measure, from :func:`slice_of`; None takes the whole file.
        lanes: Further decoders. With ``decoder``, each has a thread that decodes and computes a batch of its own. On a
            processor, give torch its share of the threads for each: threads that share a layer wait for one another
            whenever a decoder takes a core, and lanes do not. The networks must allow calls from several threads.
    """

    def __init__(
        self,
        reader: Records,
        models: Sequence[tuple[str, Classifier]],
        decoder: Decoder,
        *,
        batch_size: int = 64,
        sums: Sums | None = None,
        records: range | None = None,
        lanes: Sequence[Decoder] = (),
    ) -> None:
        self._reader = reader
        self._models = models
        self._decoders = (decoder, *lanes)
        self._reading = threading.Lock()
        self._batch_size = batch_size
        self._records = records if records is not None else range(len(reader))
        self.rate = 0.0
        self.sums = sums or Sums({name: ModelSums() for name, _ in models}, self._records.start)

    def __iter__(self) -> Iterator[Progress]:
        # A KeyboardInterrupt can leave a Queue's lock taken for ever; a SimpleQueue survives one anywhere.
        starts: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        ready: queue.SimpleQueue[_Batch | _Failed] = queue.SimpleQueue()
        room: queue.SimpleQueue[None] = queue.SimpleQueue()
        stopped = threading.Event()
        order = range(self.sums.position, self._records.stop, self._batch_size)
        for start in order:
            starts.put(start)
        producers: list[threading.Thread] = []
        for decoder in self._decoders:
            starts.put(None)
            room.put(None)
            producers.append(
                threading.Thread(
                    target=self._produce,
                    args=(decoder, starts, ready, room, stopped),
                    daemon=True,
                    name="validation-decode",
                )
            )
        for _ in range(_AHEAD):
            room.put(None)
        meter = Meter(len(self._records), self.sums.position - self._records.start)
        early: dict[int, _Batch | _Failed] = {}
        try:
            for producer in producers:
                producer.start()
            for start in order:
                while start not in early:
                    item = ready.get()
                    early[item.start] = item
                batch = early.pop(start)
                if isinstance(batch, _Failed):  # only now: the batches before it count
                    raise batch.error
                room.put(None)
                self._count(batch, self._measure(batch) if batch.measured is None else batch.measured)
                progress = meter.at(self.sums.position - self._records.start)
                self.rate = progress.per_second
                yield progress
        finally:
            stopped.set()
            for _ in producers:
                room.put(None)
            for producer in producers:
                if producer.is_alive():
                    producer.join()

    def _produce(
        self,
        decoder: Decoder,
        starts: queue.SimpleQueue[int | None],
        ready: queue.SimpleQueue[_Batch | _Failed],
        room: queue.SimpleQueue[None],
        stopped: threading.Event,
    ) -> None:
        """Put batches into ``ready``: decoded by a single producer, and measured if there are several."""
        # Room first: then the batch that is counted next always has some.
        while True:
            room.get()
            start = starts.get()
            if start is None or stopped.is_set():
                return
            try:
                batch = self._read(start, decoder)
                if len(self._decoders) > 1:
                    # Batches that wait to be counted need no pixels.
                    batch = replace(batch, measured=self._measure(batch), pixels=torch.empty(0))
            except Exception as error:
                ready.put(_Failed(start, error))
                return
            ready.put(batch)

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
    def _measure(self, batch: _Batch) -> _Measured:
        if not len(batch.labels):
            return []
        # A GPU computes while the next network is started: nothing waits for a result until all have been started.
        return [(name, _measure(classifier, batch)) for name, classifier in self._models]

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


def slice_of(count: int, batch_size: int, rank: int, world: int) -> range:
    """Return the records that process ``rank`` of ``world`` measures.

    A slice consists of whole batches of the undivided pass. Every image therefore has the same neighbours, and gives
    the same bits, with any number of processes.
    """
    batches = -(-count // batch_size)
    first, last = batches * rank // world, batches * (rank + 1) // world
    return range(min(first * batch_size, count), min(last * batch_size, count))


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
