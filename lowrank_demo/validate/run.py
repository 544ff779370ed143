"""A validation as the command line and the page start it: models chosen and loaded, file opened, state kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..data.lmdb.isolated import IsolatedReader
from ..errors import UsageError
from ..models.cards import ModelCard
from ..runtime.progress import Progress
from .checkpoint import Checkpoint
from .report import Conditions, ModelResult, Report, make_report, model_results

if TYPE_CHECKING:
    from ..models.download import OnProgress
    from ..serve.service import Service
    from .evaluate import Validation
    from .sums import Sums


def choose_models(service: Service, text: str | None) -> list[ModelCard]:
    """The cards that a user's list means: ids separated by commas, ``published``, ``all``; None means those here.

    Raises:
        UnknownModel: An id is not known.
        UsageError: The list is empty.
    """
    if text is None:
        chosen = [status.card for status in service.models() if status.where != "to download"]
    elif text == "all":
        chosen = list(service.zoo)
    elif text == "published":
        chosen = [card for card in service.zoo if card.published]
    else:
        chosen = [service.zoo.get(name.strip()) for name in text.split(",") if name.strip()]
    if not chosen:
        raise UsageError("There is no model to validate; expected ids separated by commas, 'published' or 'all'.")
    return list(dict.fromkeys(chosen))


class ValidationRun:
    """One pass with what belongs to it. A context manager; iterating does the work and yields progress."""

    def __init__(
        self,
        reader: IsolatedReader,
        cards: Sequence[ModelCard],
        validation: Validation,
        checkpoint: Checkpoint,
        resumed_at: int | None,
        conditions: Conditions,
    ) -> None:
        self._reader = reader
        self._cards = cards
        self._validation = validation
        self._checkpoint = checkpoint
        self._conditions = conditions
        self._rate = 0.0
        self.resumed_at = resumed_at

    def __enter__(self) -> ValidationRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()

    def __iter__(self) -> Iterator[Progress]:
        for progress in self._validation:
            self._rate = progress.per_second
            yield progress

    def results(self) -> tuple[ModelResult, ...]:
        """The errors so far."""
        return model_results(self._validation.sums, self._cards)

    def report(self) -> Report:
        """The result so far."""
        sums = self._validation.sums
        return make_report(self._reader.name, len(self._reader), sums, self._cards, self._rate, self._conditions)

    def save(self) -> None:
        """Keep the state, for a later run to go on from."""
        self._checkpoint.save(self._validation.sums)

    def counted(self) -> tuple[Sums, float]:
        """What was counted so far, and at how many images a second."""
        return self._validation.sums, self._rate

    def add(self, others: Sequence[tuple[Sums, float]]) -> None:
        """Take in what other processes counted of the other slices meanwhile."""
        for sums, rate in others:
            self._validation.sums.add(sums)
            self._rate += rate

    def forget(self) -> None:
        """Remove the kept state: the pass is done."""
        self._checkpoint.remove()


def open_validation(
    service: Service,
    file: Path,
    cards: Sequence[ModelCard],
    *,
    batch_size: int,
    resume: bool = False,
    on_download: OnProgress | None = None,
    part: tuple[int, int] = (0, 1),
) -> ValidationRun:
    """Open the file and load the models. One pass at a time: they share the service's decoder for such passes.

    Args:
        service: Knows the models and the settings.
        file: The LMDB file.
        cards: The models to measure.
        batch_size: Records in a batch.
        resume: Go on from the state that was kept, if there is one.
        on_download: Told about weights that are fetched.
        part: Which slice of how many.

    Raises:
        DataError: The file cannot be used; found before any model is loaded.
        WeightsError: A model cannot be loaded; found before the first batch.
    """
    from ..classify.inference import Classifier
    from ..lowrank.load import load_network
    from .evaluate import Validation, slice_of

    device = service.background_device
    with ExitStack() as on_error:
        reader = on_error.enter_context(IsolatedReader(file))
        local = [(card, service.weights.ensure(card, on_download)) for card in cards]
        arithmetic = service.settings.arithmetic
        models = [
            (card.id, Classifier(load_network(card, weights), card.pre_shrink, device, arithmetic))
            for card, weights in local
        ]
        records = slice_of(len(reader), batch_size, *part)
        decoder = service.background_decoder
        conditions = Conditions(decoder.name, str(device), arithmetic.engine, arithmetic.precision)
        checkpoint = Checkpoint(
            service.settings.cache_dir / "validations",
            reader,
            [(card.id, weights.sha256) for card, weights in local],
            batch_size,
            conditions,
            records,
        )
        sums = checkpoint.load() if resume else None
        validation = Validation(reader, models, decoder, batch_size=batch_size, sums=sums, records=records)
        on_error.pop_all()
        return ValidationRun(reader, cards, validation, checkpoint, sums.position if sums else None, conditions)
