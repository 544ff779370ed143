"""Answers with the models: what the page, the API and the command line share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ImageError, TooManyPhotos
from ..models.cards import ModelCard
from ..models.store import WeightStore
from ..models.zoo import Zoo
from ..runtime.turns import FairLock
from ..runtime.words import counted
from ..settings import Settings
from .answers import Comparison, ModelStatus, Photo
from .machine import Machine
from .networks import Networks
from .places import CUTTERS, DOWNLOADERS, FEW_COST, FEW_PHOTOS, LONG_WORKERS, WORKERS, Places, check_models

if TYPE_CHECKING:
    from ..classify.inference import Prediction
    from ..decode.gate import Admitted, Crop
    from ..models.transfer import OnProgress
    from ..validate.run import LoadedModel, ValidationRun

LentGpu: TypeAlias = Callable[[Sequence["Admitted"], Sequence[str], bool], Comparison]
"""Decodes photos and answers with the models of these ids, in a process that is lent a GPU; the flag is
``with_views``."""


class Service:
    """Decodes photos and answers with the models. Safe for use by several threads.

    Make one for each process. Torch and the decoder are loaded at first use.

    Args:
        settings: Limits, folders, device, decoder.
        lend_gpu: Wraps the function that decodes and answers, on hosts that lend a GPU for single calls.

    Raises:
        CardError: The model cards cannot be read.
    """

    def __init__(self, settings: Settings, lend_gpu: Callable[[LentGpu], LentGpu] | None = None) -> None:
        self.settings = settings
        self.weights = WeightStore.from_settings(settings)
        self.zoo: Zoo = self.weights.zoo
        self.running = FairLock()
        """Held while a decoder or a network runs: one at a time."""
        self._working = threading.BoundedSemaphore(WORKERS)
        self._working_long = threading.BoundedSemaphore(LONG_WORKERS)
        self._downloading = Places(
            DOWNLOADERS,
            "Weights are being downloaded for other visitors; try again in a minute, or choose a model that is ready.",
        )
        self._cutting = Places(CUTTERS, "Models are being truncated for other visitors; try again in a minute.")
        self._on_lent_gpu = lend_gpu(self._answer_by_ids) if lend_gpu else None
        self.machine = Machine(settings, lends_gpu=lend_gpu is not None)
        self.networks = Networks(settings, self.weights)

    def models(self) -> list[ModelStatus]:
        """List every model with the place of its weights."""
        return [self.status(card) for card in self.zoo]

    def status(self, card: ModelCard) -> ModelStatus:
        """Say where a model's weights are now."""
        return ModelStatus(card, self.weights.where(card))

    def ready_models(self) -> list[ModelCard]:
        """List the models whose weights are on this machine."""
        return [status.card for status in self.models() if status.ready]

    def default_model(self) -> ModelCard:
        """Choose the first model to show: ready, published rather than bundled, and the most compressed of those."""
        ready = self.ready_models() or list(self.zoo)
        published = [card for card in ready if card.published]
        return min(published or ready, key=lambda card: card.cost.macs)

    def classify(
        self, photos: Sequence[Photo], card: ModelCard, on_progress: OnProgress | None = None
    ) -> tuple[Prediction | ImageError, ...]:
        """Return one model's answer to each photo; see :meth:`compare`."""
        return self.compare(photos, [card], on_progress, with_views=False).answers[0]

    def compare(
        self,
        photos: Sequence[Photo],
        cards: Iterable[ModelCard],
        on_progress: OnProgress | None = None,
        *,
        with_views: bool = True,
    ) -> Comparison:
        """Decode photos once and answer with each model, the least compressed one first.

        Args:
            photos: At most as many as the settings allow.
            cards: The models; each is loaded where it is not in memory.
            on_progress: Called while weights are downloaded.
            with_views: Also return the photos as the networks see them.

        Raises:
            TooManyPhotos: There are more photos than the limit.
            UsageError: There are more models than the limit.
            WeightsError: A model cannot be loaded.
            Busy: Too many others are waiting for a download or a truncation.
        """
        limit = self.settings.max_photos
        if len(photos) > limit:
            raise TooManyPhotos(
                f"{counted(len(photos), 'photo')} came at once; expected at most {limit}: send them in parts."
            )
        ordered = sorted(cards, key=lambda card: card.cost.macs, reverse=True)
        check_models(len(ordered))
        for card in ordered:
            self.fetch(card, on_progress)
            self._truncate(card)
        from ..decode.markers import jpeg_cost

        gate = self.machine.gate
        decoded: list[Crop | ImageError | None] = []
        cost = 0
        # Decode photos that need a child process before taking a place. Ordinary JPEGs are read again, batch by batch.
        for one in gate.admit(self.read(photo) for photo in photos):
            decoded.append(None if isinstance(one, bytes) else one)
            cost += jpeg_cost(one) if isinstance(one, bytes) else 0
        with self._working if len(photos) <= FEW_PHOTOS and cost <= FEW_COST else self._working_long:
            contents = (
                next(gate.admit([self.read(photo)])) if one is None else one
                for photo, one in zip(photos, decoded, strict=True)
            )
            return self._compare(contents, ordered, with_views, on_progress)

    def fetch(self, card: ModelCard, on_progress: OnProgress | None = None) -> None:
        """Download a model's weights if they are not here. Downloads have their own places: one may take minutes.

        Raises:
            WeightsError: They cannot be downloaded.
            Busy: Too many others are waiting for a download.
        """
        if self.status(card).where == "to download":
            with self._downloading.take():
                self.weights.ensure(card, on_progress)

    def _truncate(self, card: ModelCard) -> None:
        """Load a truncated model. This has places of its own, so that visitors who use other models need not wait."""
        if card.truncated_from and not self.networks.has(card, self.machine.device):
            with self._cutting.take():
                self.networks.get(card, self.machine.device)

    def _compare(
        self,
        contents: Iterable[Admitted],
        ordered: Sequence[ModelCard],
        with_views: bool,
        on_progress: OnProgress | None,
    ) -> Comparison:
        if self._on_lent_gpu is None:
            return self._answer(contents, ordered, with_views, on_progress)
        # Load them here: a download then takes none of the GPU's time, and the process on the GPU finds them loaded.
        for card in ordered:
            self.networks.get(card, self.machine.device, on_progress)
        return self._on_lent_gpu(list(contents), [card.id for card in ordered], with_views)

    def open_validation(
        self,
        file: Path,
        cards: Sequence[ModelCard],
        *,
        batch_size: int,
        resume: bool = False,
        on_progress: OnProgress | None = None,
        on_model: Callable[[ModelCard], None] = lambda _: None,
        part: tuple[int, int] = (0, 1),
        leave_out: bool = False,
        lanes: int = 1,
    ) -> ValidationRun:
        """Open a labelled file and load the models to measure. One pass at a time: they share decoders.

        Args:
            file: The LMDB file.
            cards: The models.
            batch_size: Records in a batch.
            resume: Continue from the saved state, if there is one.
            on_progress: Called while weights are downloaded.
            on_model: Called before each model is loaded; what it raises ends the loading.
            part: The slice to measure and the number of slices.
            leave_out: If a model cannot be loaded, leave it out and measure the others.
            lanes: Batches that are decoded and computed side by side.

        Raises:
            DataError: The file cannot be used; found before any model is loaded.
            WeightsError: A model, or with ``leave_out`` every model, cannot be loaded; found before the first batch.
        """
        from ..validate.report import Conditions
        from ..validate.run import open_validation

        def load(card: ModelCard) -> LoadedModel:
            on_model(card)
            return self.networks.for_pass(card, device, on_progress)

        device, by = self.machine.background_device, self.settings.arithmetic
        decoders = self.machine.lane_decoders(lanes)
        return open_validation(
            file,
            cards,
            load,
            decoders,
            Conditions(decoders[0].name, str(device), by.engine, by.precision),
            self.settings.cache_dir / "validations",
            batch_size=batch_size,
            resume=resume,
            part=part,
            leave_out=leave_out,
        )

    def warm_up(self) -> None:
        """Load the decoder and the default model, so that the first visitor does not wait for them."""
        from ..decode.base import EDGE, blank_jpeg

        card = self.default_model()
        if self.status(card).ready:
            self.classify([Photo.from_bytes(blank_jpeg(EDGE))], card)

    def read(self, photo: Photo) -> bytes | ImageError:
        """Return a photo's bytes, or the reason why they are refused."""
        try:
            size = photo.size()
            if size > self.settings.max_file_mb * 1_000_000:
                return ImageError(
                    f"The file has {size / 1e6:.0f} MB; expected at most {self.settings.max_file_mb}: make it smaller."
                )
            return photo.read()
        except OSError as error:
            return ImageError(f"The file cannot be read ({error.strerror}); expected a photo.")

    def _answer_by_ids(self, contents: Sequence[Admitted], model_ids: Sequence[str], with_views: bool) -> Comparison:
        return self._answer(contents, [self.zoo.get(model_id) for model_id in model_ids], with_views)

    def _answer(
        self,
        contents: Iterable[Admitted],
        cards: Sequence[ModelCard],
        with_views: bool,
        on_progress: OnProgress | None = None,
    ) -> Comparison:
        from ..classify.inference import answer, decode_photos, network_view

        device = self.machine.device
        # Models in memory come first: loading another one may push out one that this comparison still needs.
        in_turn = sorted(range(len(cards)), key=lambda i: not self.networks.has(cards[i], device))
        # Load the first model before any photo is decoded, because that may take a download.
        first = self.networks.get(cards[in_turn[0]], device, on_progress) if cards else None
        photos = decode_photos(contents, self.machine.decoder.decoder, self.running)
        answers: dict[int, tuple[Prediction | ImageError, ...]] = {}
        for i in in_turn:
            classifier = first or self.networks.get(cards[i], device, on_progress)
            first = None
            # Release the lock between models, so that a comparison of many does not hold up a visitor who asks one.
            with self.running:
                answers[i] = tuple(answer(photos, classifier))
        in_order = tuple(answers[i] for i in range(len(cards)))
        return Comparison(tuple(cards), in_order, tuple(network_view(photos)) if with_views else ())
