"""Inside the models: the time of one image, singular values, filters, and where in a photo an answer comes from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from ..errors import ImageError, WeightsUnavailable
from ..models.cards import ModelCard
from .answers import Photo
from .places import TIMERS, Places
from .service import Service

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..classify.latency import Latency
    from ..classify.occlusion import Occlusion
    from ..lowrank.filters import Filters, FiltersAtRank
    from ..lowrank.spectra import Spectra
    from ..nn.alexnet import LowRankAlexNet

View = TypeVar("View")

_MOST_LATENCIES = 1_000


class Inspection:
    """Answers questions about the service's models. Safe for use by several threads.

    What depends on a model alone is computed once.

    Args:
        service: Has the models, and the lock to hold while a network runs.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._latencies: dict[str, Latency] = {}
        self._spectra: dict[str, Spectra] = {}
        self._filters: dict[str, Filters] = {}
        self._computing = threading.Lock()
        self._measuring = threading.Lock()
        self._timing = Places(TIMERS, "Truncated models are being timed for other visitors; try again in a minute.")

    def latency(self, card: ModelCard) -> Latency:
        """Return the milliseconds for one image. The first call measures them while no other network runs.

        Raises:
            Busy: Too many truncated models are being timed.
        """
        from ..classify.latency import measure

        if known := self._latencies.get(card.id):
            return known
        service = self._service
        device, arithmetic = service.machine.background_device, service.settings.arithmetic
        with self._timing.take() if card.truncated_from else nullcontext(), self._measuring:
            if card.id not in self._latencies:
                if len(self._latencies) >= _MOST_LATENCIES:  # cuts: there are more than can be kept
                    self._latencies.clear()
                self._latencies[card.id] = measure(card, device, arithmetic, service.running)
            return self._latencies[card.id]

    def spectra(self, card: ModelCard) -> Spectra:
        """Return the singular values of a model's layers; those of a truncated model are its whole model's.

        Raises:
            WeightsError: Its weights are not on this machine, or cannot be loaded.
        """
        from ..lowrank.spectra import Spectra

        return self._once(self._spectra, card, Spectra.of)

    def filters(self, card: ModelCard) -> Filters:
        """Return the first layer's weights; those of a truncated model are its whole model's.

        Raises:
            WeightsError: Its weights are not on this machine, or cannot be loaded.
        """
        from ..lowrank.filters import Filters

        return self._once(self._filters, card, Filters.of)

    def filters_at_each_rank(self, card: ModelCard, photo: Photo) -> list[FiltersAtRank]:
        """Return the first layer cut to each rank, and what it finds in a photo.

        Raises:
            WeightsError: The weights are not on this machine, or cannot be loaded.
            ImageError: The photo cannot be used.
        """
        return self.filters(card).at_each_rank(self._pixels(photo))

    def evidence(self, photo: Photo, cards: Sequence[ModelCard]) -> tuple[np.ndarray, list[Occlusion]]:
        """Find where in a photo the models' answers come from.

        Returns:
            The photo as the networks see it, uint8 [227, 227, 3], and one map for each model.

        Raises:
            WeightsError: The weights of a model are not on this machine, or cannot be loaded.
            ImageError: The photo cannot be used.
        """
        from ..classify.inference import denormalised
        from ..classify.occlusion import occlusion

        service = self._service
        for card in cards:
            self._refuse_download(card)
        pixels = self._pixels(photo)
        found: list[Occlusion] = []
        for card in cards:
            classifier = service.networks.get(card, service.machine.background_device)
            found.append(occlusion(pixels, classifier, service.running))
        return denormalised(pixels), found

    def _pixels(self, photo: Photo) -> Tensor:
        """Return a photo as networks take it, normalised float32 [3, 227, 227]."""
        from ..decode.pillow import normalised
        from ..decode.pixels import read_crop

        service = self._service
        (admitted,) = service.machine.gate.admit([service.read(photo)])
        if isinstance(admitted, ImageError):
            raise admitted
        if isinstance(admitted, bytes):
            return normalised(read_crop(admitted, service.settings.max_megapixels * 1_000_000))
        return normalised(admitted.pixels)

    def _once(self, known: dict[str, View], card: ModelCard, view: Callable[[LowRankAlexNet], View]) -> View:
        from ..lowrank.load import fetch_network

        whole = self._service.zoo.get(card.id.partition("@")[0])
        self._refuse_download(whole)
        with self._computing:
            if whole.id not in known:
                known[whole.id] = view(fetch_network(self._service.weights, whole))
            return known[whole.id]

    def _refuse_download(self, card: ModelCard) -> None:
        if self._service.status(card).where == "to download":
            raise WeightsUnavailable(
                f"The weights of {card.title} are not on this machine yet; press Download at the top of the page."
            )
