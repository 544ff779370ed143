"""Looking into models: how long they take, what their layers keep, where in a photo an answer comes from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..errors import ImageError, WeightsUnavailable
from ..models.cards import ModelCard
from .service import Photo, Service

if TYPE_CHECKING:
    import torch

    from ..classify.inference import Classifier
    from ..classify.latency import Latency
    from ..classify.occlusion import Occlusion
    from ..lowrank.filters import Filters
    from ..lowrank.spectra import Spectra
    from ..nn.alexnet import LowRankAlexNet

View = TypeVar("View")


class Inspection:
    """One beside the service. Safe for use by several threads; what depends on a model alone is computed once.

    Args:
        service: Whose models these are, and whose turn is waited for before a network runs.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._latencies: dict[str, Latency] = {}
        self._spectra: dict[str, Spectra] = {}
        self._filters: dict[str, Filters] = {}
        self._looking = threading.Lock()

    def latency(self, model_id: str) -> Latency:
        """Milliseconds for one image in the model's network, measured at the first call while nobody else's run.

        Raises:
            UnknownModel: There is no such model.
        """
        from ..classify.latency import measure

        card = self._service.zoo.get(model_id)
        with self._service.running:
            if card.id not in self._latencies:
                self._latencies[card.id] = measure(
                    card, self._service.background_device, self._service.settings.arithmetic
                )
            return self._latencies[card.id]

    def spectra(self, model_id: str) -> Spectra:
        """The singular values of a model whose weights are here, computed at the first call.

        Raises:
            UnknownModel: There is no such model.
            WeightsError: Its weights are not here, or cannot be loaded.
        """
        from ..lowrank.spectra import Spectra

        return self._once(self._spectra, model_id, Spectra.of)

    def filters(self, model_id: str) -> Filters:
        """The first layer's weights of a model whose weights are here.

        Raises:
            UnknownModel: There is no such model.
            WeightsError: Its weights are not here, or cannot be loaded.
        """
        from ..lowrank.filters import Filters

        return self._once(self._filters, model_id, Filters.of)

    def evidence(self, photo: Photo, model_ids: Sequence[str]) -> tuple[torch.Tensor, list[Occlusion]]:
        """Where in a photo the answers of models come from whose weights are here.

        Returns:
            The photo as the networks see it, normalised float32 [3, 227, 227], and one map for each model.

        Raises:
            UnknownModel: There is no such model.
            WeightsError: Its weights are not here, or cannot be loaded.
            ImageError: The photo cannot be used.
        """
        from ..classify.occlusion import occlusion
        from ..decode.base import read_header
        from ..decode.pillow import decode_one

        cards = [self._card_here(model_id) for model_id in model_ids]
        data = self._service.read(photo)
        if isinstance(data, ImageError):
            raise data
        read_header(data, self._service.settings.max_megapixels * 1_000_000)
        pixels = decode_one(data, oriented=True)
        found: list[Occlusion] = []
        for card in cards:
            classifier = self._classifier(card)
            with self._service.running:
                found.append(occlusion(pixels, classifier))
        return pixels, found

    def _once(self, known: dict[str, View], model_id: str, view: Callable[[LowRankAlexNet], View]) -> View:
        from ..lowrank.load import load_network

        # Those of a cut model are the first few of the whole one's.
        card = self._card_here(model_id.partition("@")[0])
        with self._looking:
            if card.id not in known:
                known[card.id] = view(load_network(card, self._service.weights.ensure(card)))
            return known[card.id]

    def _classifier(self, card: ModelCard) -> Classifier:
        """The service's own; where its GPU is lent for single calls only, one on the CPU."""
        from ..classify.inference import Classifier
        from ..lowrank.load import load_network

        service = self._service
        if service.background_device == service.device:
            return service.classifier(card)
        network = load_network(card, service.weights.ensure(card))
        return Classifier(network, card.pre_shrink, service.background_device, service.settings.arithmetic)

    def _card_here(self, model_id: str) -> ModelCard:
        card = self._service.zoo.get(model_id)
        if self._service.weights.where(card) == "to download":
            raise WeightsUnavailable(
                f"The weights of {card.id} are not on this machine yet: classify a photo with it, and they are fetched."
            )
        return card
