"""What the page, the API and the command line all call: cards, costs, classification; locks and limits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ImageError, TooManyPhotos
from ..models.cards import ModelCard, Zoo
from ..models.store import WeightStore, Where
from ..settings import Settings

if TYPE_CHECKING:
    import torch

    from ..classify.inference import Classifier, Prediction
    from ..decode.base import Decoder
    from ..decode.choose import Choice
    from ..models.download import OnProgress


Run: TypeAlias = "Callable[[Sequence[bytes], Sequence[str]], list[list[Prediction | ImageError]]]"
"""Decodes images and answers with each of several models."""


@dataclass(frozen=True)
class ModelStatus:
    """A card and where its weights are now."""

    card: ModelCard
    where: Where


@dataclass(frozen=True)
class Photo:
    """One file to classify; its bytes are read when its turn comes."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Comparison:
    """What several models say of the same photos, the least compressed model first."""

    cards: tuple[ModelCard, ...]
    answers: tuple[tuple[Prediction | ImageError, ...], ...]
    """Of each model, for each photo."""


class Service:
    """One for each process. Safe for use by several threads; torch and the decoder load at first use.

    Args:
        settings: Limits, folders, device, decoder.
        on_gpu: Wraps the function that decodes and runs a network, for hosts that lend a GPU for single calls.
    """

    def __init__(self, settings: Settings, on_gpu: Callable[[Run], Run] | None = None) -> None:
        self.settings = settings
        self.weights = WeightStore.from_settings(settings)
        self.zoo: Zoo = self.weights.zoo
        self._run = on_gpu(self._run_here) if on_gpu else self._run_here
        self._gpu_is_lent = on_gpu is not None
        self._classifiers: OrderedDict[str, Classifier] = OrderedDict()
        self._lock = threading.Lock()
        self.running = threading.Lock()
        """Held while a network or the decoder runs: one at a time."""
        # By file, not by model: a model can be cut in more ways than there is room to remember.
        self._loading: dict[str, threading.Lock] = {card.weights.file: threading.Lock() for card in self.zoo}

    def models(self) -> list[ModelStatus]:
        """Every card, with where its weights are."""
        return [ModelStatus(card, self.weights.where(card)) for card in self.zoo]

    def default_model(self) -> ModelCard:
        """The first card to show: one whose weights are here, published before bundled, the most compressed one."""
        here = [status.card for status in self.models() if status.where != "to download"] or list(self.zoo)
        published = [card for card in here if card.published]
        return min(published or here, key=lambda card: card.cost.macs)

    def classify(
        self, photos: Sequence[Photo], model_id: str, on_progress: OnProgress | None = None
    ) -> list[Prediction | ImageError]:
        """Classify photos with one model, loading it first where it is not loaded.

        Raises:
            UnknownModel: There is no such model.
            TooManyPhotos: More than the limit.
            WeightsError: The model cannot be loaded.
        """
        card = self.zoo.get(model_id)
        self._check_number(photos)
        self.classifier(card, on_progress)
        return self._answers(photos, [card])[0]

    def compare(self, photos: Sequence[Photo], model_ids: Sequence[str] | None = None) -> Comparison:
        """What several models say of the photos, which are decoded once.

        Args:
            photos: At most as many as the settings allow.
            model_ids: Which models; None for every one whose weights are here.

        Raises:
            UnknownModel: There is no such model.
            TooManyPhotos: More than the limit.
            WeightsError: A model cannot be loaded.
        """
        self._check_number(photos)
        if model_ids is None:
            cards = [status.card for status in self.models() if status.where != "to download"]
        else:
            cards = [self.zoo.get(model_id) for model_id in model_ids]
        cards.sort(key=lambda card: card.cost.macs, reverse=True)
        return Comparison(tuple(cards), tuple(map(tuple, self._answers(photos, cards))))

    def classifier(self, card: ModelCard, on_progress: OnProgress | None = None) -> Classifier:
        """The model's network, from memory or loaded; the least recently used one makes room.

        Raises:
            WeightsError: The model cannot be loaded; those in memory go on serving.
        """
        from ..classify.inference import Classifier
        from ..lowrank.load import load_network

        with self._loading[card.weights.file]:
            with self._lock:
                known = self._classifiers.get(card.id)
                if known:
                    self._classifiers.move_to_end(card.id)
                    return known
            network = load_network(card, self.weights.ensure(card, on_progress))
            made = Classifier(network, card.pre_shrink, self.device, self.settings.arithmetic)
            with self._lock:
                self._classifiers[card.id] = made
                while len(self._classifiers) > self.settings.models_in_memory:
                    self._classifiers.popitem(last=False)
            return made

    def warm_up(self) -> None:
        """Load the decoder and the default model, so that the first visitor does not wait for them."""
        from ..decode.base import EDGE, blank_jpeg

        card = self.default_model()
        if self.weights.where(card) != "to download":
            self._run([blank_jpeg(EDGE)], [card.id])

    def decoder_note(self) -> str:
        """What decodes and computes here, in a sentence, and why not a faster decoder."""
        choice = self.decoder
        why = f": {choice.reason}" if choice.reason else ""
        by = self.settings.arithmetic
        return (
            f"Photos are decoded by {choice.decoder.name}{why}; networks are computed by {by.engine} in {by.precision} "
            f"on {self.device}."
        )

    @cached_property
    def device(self) -> torch.device:
        """Where networks run."""
        from ..decode.choose import choose_device

        return choose_device(self.settings)

    @cached_property
    def background_device(self) -> torch.device:
        """Where long passes run: never on a GPU that is lent for single calls."""
        import torch

        return torch.device("cpu") if self._gpu_is_lent else self.device

    @cached_property
    def decoder(self) -> Choice:
        """The decoder in use and why."""
        from ..decode.choose import choose_decoder

        return choose_decoder(self.settings, self.device)

    @cached_property
    def background_decoder(self) -> Decoder:
        """For long passes, of which there is one at a time; made once, because DALI keeps memory of each pipeline."""
        from ..decode.choose import choose_decoder

        return choose_decoder(self.settings, self.background_device).decoder

    def _check_number(self, photos: Sequence[Photo]) -> None:
        limit = self.settings.max_photos
        if len(photos) > limit:
            raise TooManyPhotos(f"{len(photos)} photos came at once; expected at most {limit}: send them in parts.")

    def _answers(self, photos: Sequence[Photo], cards: Sequence[ModelCard]) -> list[list[Prediction | ImageError]]:
        contents: list[bytes | ImageError] = [self.read(photo) for photo in photos]
        readable = [data for data in contents if isinstance(data, bytes)]
        found: list[list[Prediction | ImageError]] = []
        for answers in self._run(readable, [card.id for card in cards]):
            waiting = iter(answers)
            found.append([data if isinstance(data, ImageError) else next(waiting) for data in contents])
        return found

    def _run_here(self, images: Sequence[bytes], model_ids: Sequence[str]) -> list[list[Prediction | ImageError]]:
        from ..classify.inference import answer, decode_photos

        with self.running:
            photos = decode_photos(images, self.decoder.decoder)
        found: list[list[Prediction | ImageError]] = []
        for model_id in model_ids:
            classifier = self.classifier(self.zoo.get(model_id))
            # Let go between models: a comparison of many does not keep others from their one.
            with self.running:
                found.append(answer(photos, classifier))
        return found

    def read(self, photo: Photo) -> bytes | ImageError:
        """A photo's bytes, or why they are not taken."""
        try:
            data = photo.read()
        except OSError as error:
            return ImageError(f"The file cannot be read ({error.strerror}); expected a photo.")
        if len(data) > self.settings.max_file_mb * 1_000_000:
            return ImageError(
                f"The file has {len(data) / 1e6:.0f} MB; expected at most {self.settings.max_file_mb}: make it smaller."
            )
        return data
