"""One validation: the file opened, the models loaded, the state saved and found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..data.lmdb.isolated import IsolatedReader
from ..errors import WeightsError
from ..models.cards import ModelCard
from ..runtime.progress import Progress
from .checkpoint import Checkpoint
from .report import Conditions, ModelResult, Report, make_report, model_results

if TYPE_CHECKING:
    from ..classify.inference import Classifier
    from ..decode.base import Decoder
    from .evaluate import Validation
    from .sums import Sums


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be measured."""

    card: ModelCard
    sha256: str
    """Digest of its weight file, and of the statistics that belong to it."""
    classifier: Classifier


@dataclass(frozen=True)
class ValidationRun:
    """A pass over an open file. A context manager; iterate over it to do the work."""

    reader: IsolatedReader
    cards: tuple[ModelCard, ...]
    validation: Validation
    checkpoint: Checkpoint
    """Keeps the pass's sums on disk."""
    conditions: Conditions
    resumed_at: int | None
    """The record that a resumed pass continues from; None for a pass from the beginning."""
    left_out: tuple[tuple[str, str], ...] = ()
    """Ids of models that could not be loaded, and why."""

    def __enter__(self) -> ValidationRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.reader.close()

    def __iter__(self) -> Iterator[Progress]:
        return iter(self.validation)

    def merge(self, sums: Sums, rate: float) -> None:
        """Add what another process counted of the same pass, and its images per second."""
        self.validation.sums.add(sums)
        self.validation.rate += rate

    def results(self) -> tuple[ModelResult, ...]:
        """Return the errors measured so far."""
        return model_results(self.validation.sums, self.cards)

    def report(self) -> Report:
        """Return the report of what has been measured so far."""
        validation = self.validation
        return make_report(
            self.reader.name,
            len(self.reader),
            validation.sums,
            self.cards,
            validation.rate,
            self.conditions,
            self.left_out,
        )


def open_validation(
    file: Path,
    cards: Sequence[ModelCard],
    load: Callable[[ModelCard], LoadedModel],
    decoders: Sequence[Decoder],
    conditions: Conditions,
    state_folder: Path,
    *,
    batch_size: int,
    resume: bool = False,
    part: tuple[int, int] = (0, 1),
    leave_out: bool = False,
) -> ValidationRun:
    """Open the file, then load the models.

    Args:
        file: The LMDB file.
        cards: The models to measure.
        load: Returns a model's network and the digest of its weights.
        decoders: Used by this pass alone. With several, batches are computed side by side.
        conditions: What the pass is computed with.
        state_folder: Where the state of unfinished passes is kept.
        batch_size: Records in a batch.
        resume: Continue from the saved state, if there is one.
        part: The slice to measure and the number of slices.
        leave_out: If a model cannot be loaded, leave it out and measure the others.

    Raises:
        DataError: The file cannot be used; found before any model is loaded. Or the saved state is damaged.
        UsageError: The saved pass cannot be continued with these models, this batch size or these conditions.
        WeightsError: A model, or with ``leave_out`` every model, cannot be loaded; found before the first batch.
    """
    from .evaluate import Validation, slice_of

    with ExitStack() as on_error:
        reader = on_error.enter_context(IsolatedReader(file))
        models: list[LoadedModel] = []
        left_out: list[tuple[str, str]] = []
        for number, card in enumerate(cards, start=1):
            try:
                models.append(load(card))
            except WeightsError as error:
                if not leave_out or (number == len(cards) and not models):
                    raise
                left_out.append((card.id, str(error)))
        records = slice_of(len(reader), batch_size, *part)
        checkpoint = Checkpoint(
            state_folder, reader, [(model.card.id, model.sha256) for model in models], batch_size, conditions, part
        )
        sums = checkpoint.load() if resume else None
        validation = Validation(
            reader,
            [(model.card.id, model.classifier) for model in models],
            decoders,
            batch_size=batch_size,
            sums=sums,
            records=records,
        )
        on_error.pop_all()
        return ValidationRun(
            reader,
            tuple(model.card for model in models),
            validation,
            checkpoint,
            conditions,
            sums.position if sums else None,
            tuple(left_out),
        )
