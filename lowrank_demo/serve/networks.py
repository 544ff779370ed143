"""The networks in memory: loaded when they are first used; the least recently used one makes room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..models.cards import ModelCard
from ..models.store import WeightStore
from ..settings import Settings

if TYPE_CHECKING:
    import torch

    from ..classify.inference import Classifier
    from ..models.transfer import OnProgress
    from ..nn.alexnet import LowRankAlexNet
    from ..validate.run import LoadedModel


class Networks:
    """Loads networks and keeps them. Safe for use by several threads.

    Args:
        settings: How much memory the kept networks may take, and the arithmetic.
        weights: Has the weight files.
    """

    def __init__(self, settings: Settings, weights: WeightStore) -> None:
        self._settings = settings
        self._weights = weights
        self._most = settings.max_models_mb * 1_000_000
        self._known: OrderedDict[tuple[str, str], tuple[Classifier, int]] = OrderedDict()
        """Each network and its bytes, by model and device; the one used last comes last."""
        self._lock = threading.Lock()
        # One lock for each weight file, not for each model: there are too many truncations of a model to remember them.
        self._loading: dict[str, threading.Lock] = {card.weights.file: threading.Lock() for card in weights.zoo}

    def get(self, card: ModelCard, device: torch.device, on_progress: OnProgress | None = None) -> Classifier:
        """Return the model's network from memory, or load it.

        Args:
            card: The model.
            device: Where the network runs.
            on_progress: Called while its weights are downloaded.

        Raises:
            WeightsError: The model cannot be loaded; those in memory keep working.
        """
        from ..lowrank.load import fetch_network

        key = (card.id, str(device))
        known = self._in_memory(key)
        if known:
            return known
        with self._loading[card.weights.file]:
            known = self._in_memory(key)
            if known:
                return known
            made = self._prepare(fetch_network(self._weights, card, on_progress), device)
            with self._lock:
                self._known[key] = made, self._size(card)
                while len(self._known) > 1 and sum(size for _, size in self._known.values()) > self._most:
                    self._known.popitem(last=False)
            return made

    def has(self, card: ModelCard, device: torch.device) -> bool:
        """Return whether the model's network is in memory."""
        with self._lock:
            return (card.id, str(device)) in self._known

    def for_pass(self, card: ModelCard, device: torch.device, on_progress: OnProgress | None = None) -> LoadedModel:
        """Return the model's network for a long pass; one that was not in memory is not kept there.

        So the models of a pass do not push out those that visitors use.

        Args:
            card: The model.
            device: Where the network runs.
            on_progress: Called while its weights are downloaded.

        Raises:
            WeightsError: The model cannot be loaded.
        """
        from ..lowrank.load import load_network
        from ..validate.run import LoadedModel

        weights = self._weights.ensure(card, on_progress)
        # An OpenVINO network answers one caller at a time, so a pass has its own.
        known = self._in_memory((card.id, str(device))) if self._settings.arithmetic.engine == "torch" else None
        return LoadedModel(card, weights.digests, known or self._prepare(load_network(card, weights), device))

    def _prepare(self, network: LowRankAlexNet, device: torch.device) -> Classifier:
        from ..classify.inference import Classifier

        return Classifier(network, device, self._settings.arithmetic)

    def _size(self, card: ModelCard) -> int:
        return card.cost.fp32_bytes // (2 if self._settings.precision == "bf16" else 1)

    def _in_memory(self, key: tuple[str, str]) -> Classifier | None:
        with self._lock:
            if key not in self._known:
                return None
            self._known.move_to_end(key)
            return self._known[key][0]
