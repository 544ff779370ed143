"""The models in memory, and the answers they give: what the page, the API and the command line share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ImageError, TooManyPhotos
from ..models.cards import ModelCard, Zoo
from ..models.store import WeightStore, Where
from ..settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..classify.inference import Classifier, Prediction
    from ..decode.base import Decoder
    from ..decode.choose import Choice
    from ..models.download import OnProgress
    from ..nn.alexnet import LowRankAlexNet
    from ..validate.run import ValidationRun


@dataclass(frozen=True)
class ModelStatus:
    """A card and where its weights are now."""

    card: ModelCard
    where: Where

    @property
    def ready(self) -> bool:
        """Whether the model can be used without a download."""
        return self.where != "to download"


@dataclass(frozen=True)
class Photo:
    """One file to classify. Its bytes are read when its batch is decoded."""

    name: str
    read: Callable[[], bytes]

    @classmethod
    def from_file(cls, path: Path, name: str = "") -> Photo:
        """Name a file on this machine; ``name`` is what people see, the file's own name if empty."""
        return cls(name or path.name, path.read_bytes)


@dataclass(frozen=True)
class Comparison:
    """The answers of one or more models to the same photos."""

    cards: tuple[ModelCard, ...]
    answers: tuple[tuple[Prediction | ImageError, ...], ...]
    """For each model, its answer to each photo."""
    views: tuple[np.ndarray | None, ...]
    """Each photo as the networks see it, uint8 [227, 227, 3]; None where it cannot be used. Empty if not asked for."""


LentGpu: TypeAlias = Callable[[Sequence["bytes | ImageError"], Sequence[str], bool], Comparison]
"""Decodes photos and answers with the models of these ids, in a process that a GPU is lent to; see ``with_views``."""


class Service:
    """Loads models when they are first used and answers with them. Safe for use by several threads.

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
        self.running = threading.Lock()
        """Held while a decoder or a network runs: one at a time."""
        self._on_lent_gpu = lend_gpu(self._answer_by_ids) if lend_gpu else None
        self._classifiers: OrderedDict[tuple[str, str], Classifier] = OrderedDict()
        self._lock = threading.Lock()
        # One lock for each weight file, not for each model: a model can be cut in too many ways to remember them all.
        self._loading: dict[str, threading.Lock] = {card.weights.file: threading.Lock() for card in self.zoo}

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
            with_views: Return the photos as the networks see them, too.

        Raises:
            TooManyPhotos: There are more photos than the limit.
            WeightsError: A model cannot be loaded.
        """
        limit = self.settings.max_photos
        if len(photos) > limit:
            raise TooManyPhotos(f"{len(photos)} photos came at once; expected at most {limit}: send them in parts.")
        ordered = sorted(cards, key=lambda card: card.cost.macs, reverse=True)
        contents = (self.read(photo) for photo in photos)
        if self._on_lent_gpu is None:
            return self._answer(contents, ordered, with_views, on_progress)
        # Loaded here, where a download does not use up the time of the GPU, and the process on the GPU finds them.
        for card in ordered:
            self.classifier(card, on_progress)
        return self._on_lent_gpu(list(contents), [card.id for card in ordered], with_views)

    def classifier(
        self, card: ModelCard, on_progress: OnProgress | None = None, device: torch.device | None = None
    ) -> Classifier:
        """Return the model's network from memory, or load it; the least recently used one makes room.

        Args:
            card: The model.
            on_progress: Called while its weights are downloaded.
            device: Where the network runs; None takes :attr:`device`.

        Raises:
            WeightsError: The model cannot be loaded; those in memory go on serving.
        """
        from ..lowrank.load import fetch_network

        device = device or self.device
        key = (card.id, str(device))
        known = self._in_memory(key)
        if known:
            return known
        with self._loading[card.weights.file]:
            known = self._in_memory(key)
            if known:
                return known
            made = self._prepare(fetch_network(self.weights, card, on_progress), card, device)
            with self._lock:
                self._classifiers[key] = made
                while len(self._classifiers) > self.settings.models_in_memory:
                    self._classifiers.popitem(last=False)
            return made

    def open_validation(
        self,
        file: Path,
        cards: Sequence[ModelCard],
        *,
        batch_size: int,
        resume: bool = False,
        on_progress: OnProgress | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> ValidationRun:
        """Open a labelled file and load the models to measure. One pass at a time: they share a decoder.

        Args:
            file: The LMDB file.
            cards: The models.
            batch_size: Records in a batch.
            resume: Continue from the saved state, if there is one.
            on_progress: Called while weights are downloaded.
            part: The slice to measure and the number of slices.

        Raises:
            DataError: The file cannot be used; found before any model is loaded.
            WeightsError: A model cannot be loaded; found before the first batch.
        """
        from ..lowrank.load import load_network
        from ..validate.report import Conditions
        from ..validate.run import LoadedModel, open_validation

        device, by = self.background_device, self.settings.arithmetic

        def load(card: ModelCard) -> LoadedModel:
            weights = self.weights.ensure(card, on_progress)
            # The models of a pass do not push out those that visitors use. An OpenVINO network answers one caller at a
            # time, so a pass has its own.
            known = self._in_memory((card.id, str(device))) if by.engine == "torch" else None
            return LoadedModel(card, weights.sha256, known or self._prepare(load_network(card, weights), card, device))

        decoder = self.background_decoder
        return open_validation(
            file,
            cards,
            load,
            decoder,
            Conditions(decoder.name, str(device), by.engine, by.precision),
            self.settings.cache_dir / "validations",
            batch_size=batch_size,
            resume=resume,
            part=part,
        )

    def warm_up(self) -> None:
        """Load the decoder and the default model, so that the first visitor does not wait for them."""
        from ..decode.base import EDGE, blank_jpeg

        card = self.default_model()
        if self.status(card).ready:
            self.classify([Photo("blank", lambda: blank_jpeg(EDGE))], card)

    def decoder_note(self) -> str:
        """Say in a sentence what decodes and computes here, and why nothing faster does."""
        choice = self.decoder
        why = f": {choice.reason}" if choice.reason else ""
        by = self.settings.arithmetic
        return (
            f"Photos are decoded by {choice.decoder.name}{why}; networks are computed by {by.engine} in {by.precision} "
            f"on {self.device}."
        )

    def read(self, photo: Photo) -> bytes | ImageError:
        """Return a photo's bytes, or the reason why they are refused."""
        try:
            data = photo.read()
        except OSError as error:
            return ImageError(f"The file cannot be read ({error.strerror}); expected a photo.")
        if len(data) > self.settings.max_file_mb * 1_000_000:
            return ImageError(
                f"The file has {len(data) / 1e6:.0f} MB; expected at most {self.settings.max_file_mb}: make it smaller."
            )
        return data

    @cached_property
    def device(self) -> torch.device:
        """Where networks run."""
        from ..decode.choose import choose_device

        return choose_device(self.settings)

    @cached_property
    def background_device(self) -> torch.device:
        """Where long passes run: never on a GPU that is lent for single calls."""
        import torch

        return torch.device("cpu") if self._on_lent_gpu else self.device

    @cached_property
    def decoder(self) -> Choice:
        """The decoder in use, and why."""
        from ..decode.choose import choose_decoder

        return choose_decoder(self.settings, self.device)

    @cached_property
    def background_decoder(self) -> Decoder:
        """The decoder of long passes. Made once, because DALI keeps the memory of every pipeline."""
        from ..decode.choose import choose_decoder

        return choose_decoder(self.settings, self.background_device).decoder

    def _prepare(self, network: LowRankAlexNet, card: ModelCard, device: torch.device) -> Classifier:
        from ..classify.inference import Classifier

        return Classifier(network, card.pre_shrink, device, self.settings.arithmetic)

    def _in_memory(self, key: tuple[str, str]) -> Classifier | None:
        with self._lock:
            known = self._classifiers.get(key)
            if known:
                self._classifiers.move_to_end(key)
            return known

    def _answer_by_ids(
        self, contents: Sequence[bytes | ImageError], model_ids: Sequence[str], with_views: bool
    ) -> Comparison:
        return self._answer(contents, [self.zoo.get(model_id) for model_id in model_ids], with_views)

    def _answer(
        self,
        contents: Iterable[bytes | ImageError],
        cards: Sequence[ModelCard],
        with_views: bool,
        on_progress: OnProgress | None = None,
    ) -> Comparison:
        from ..classify.inference import answer, decode_photos, network_view

        # Before any photo is decoded: loading it may take a download.
        first = self.classifier(cards[0], on_progress) if cards else None
        photos = decode_photos(contents, self.decoder.decoder, self.running)
        answers: list[tuple[Prediction | ImageError, ...]] = []
        for card in cards:
            classifier = first or self.classifier(card, on_progress)
            first = None
            # Released between models: a comparison of many does not hold up a visitor who asks one.
            with self.running:
                answers.append(tuple(answer(photos, classifier)))
        return Comparison(tuple(cards), tuple(answers), tuple(network_view(photos)) if with_views else ())
