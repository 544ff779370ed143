"""The answers of every network of a family to one photo: what the page's rail moves along."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import Busy, ImageError
from ..models.architecture import SCHEMES
from ..models.cards import BUNDLED_FAMILY, ModelCard
from ..models.path import can_be_cut, path_of
from .answers import Photo
from .places import Places
from .service import Service

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..classify.inference import Prediction, Time
    from ..classify.path import Top

_KEPT = 64
"""Photos whose answers are kept: the examples, and those that visitors come back to."""
_ASKED = 6
"""Photos that may be answered, or wait for an answer, at a time."""


@dataclass(frozen=True)
class PathAnswers:
    """A photo and what each network says of it."""

    view: np.ndarray
    """The photo as the networks see it, uint8 [227, 227, 3]."""
    decoder: str
    decode_time: Time
    answers: dict[str, Top]
    """Model id -> answer; without those of models that must be downloaded first."""


class Paths:
    """Answers along the paths of all families. Safe for use by several threads.

    Args:
        service: Has the models, the decoder, and the lock to hold while a network runs.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        bundled_first = sorted(service.zoo, key=lambda card: not card.bundled)
        families = dict.fromkeys(card.family for card in bundled_first)
        self.paths: dict[str, dict[str, tuple[ModelCard, ...]]] = {
            family: {scheme: path_of(service.zoo, family, scheme) for scheme in SCHEMES} for family in families
        }
        """Family -> scheme -> its networks in order of falling MACs."""
        self._networks: dict[tuple[str, str], list[Callable[[Tensor], Tensor]]] = {}
        self._loading = threading.Lock()
        self._keeping = threading.Lock()
        self._ended = threading.Event()
        self._known: OrderedDict[tuple[str, str], PathAnswers] = OrderedDict()
        self._asking = Places(_ASKED, "Photos of other visitors are being answered; try again in a few seconds.")

    def first(self) -> ModelCard:
        """Return the model to begin with: the most compressed bundled one that is ready."""
        service = self._service
        bundled = [card for card in service.ready_models() if card.family == BUNDLED_FAMILY]
        return min(bundled or [service.default_model()], key=lambda card: card.cost.macs)

    def answers(self, photo: Photo, card: ModelCard) -> PathAnswers:
        """Answer one photo with every network of a model's family whose weights are here, and with the model itself.

        Args:
            photo: The photo.
            card: The model. It may be a cut that is not on a path.

        Raises:
            ImageError: The photo cannot be used.
            WeightsError: Weights cannot be loaded.
            Busy: Too many photos are waiting.
        """
        found = self._along(photo, card.family)
        if card.id in found.answers or not self._service.status(card).ready:
            return found
        (answer,) = self._service.classify([photo], card)
        if isinstance(answer, ImageError):
            raise answer
        return replace(found, answers={**found.answers, card.id: _top(answer)})

    def _along(self, photo: Photo, family: str) -> PathAnswers:
        from ..classify.inference import decode_photos, network_view
        from ..classify.path import answers_along

        service = self._service
        content = service.read(photo)
        if isinstance(content, ImageError):
            raise content
        ready = [self._ready(path) for path in self.paths[family].values()]
        ids = "".join(card.id for path in ready for card in path)
        key = (hashlib.sha256(content + ids.encode()).hexdigest(), family)
        with self._keeping:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        machine = service.machine
        # Photos that need a child process wait for one before they take a place.
        admitted = list(machine.gate.admit([content]))
        with self._asking.take():
            photos = decode_photos(admitted, machine.background_decoder, service.running)
            ((decoded, times),) = photos.batches
            for error in decoded.refused.values():
                raise error
            pixels = decoded.pixels[:1].to(machine.background_device)
            answers: dict[str, Top] = {}
            for path in ready:
                self._go_on()
                networks = self._load(path)
                for card, top in zip(path, answers_along(networks, pixels, service.running), strict=True):
                    self._go_on()
                    answers[card.id] = top
        (view,) = network_view(photos)
        assert view is not None
        made = PathAnswers(view, decoded.decoders[0], times[0], answers)
        with self._keeping:
            self._known[key] = made
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return made

    def warm_up(self, photo: Photo) -> None:
        """Answer a photo, so that the first visitor finds the networks in memory and the answer known."""
        self._service.warm_up()
        with contextlib.suppress(Busy):
            self._along(photo, self.first().family)

    def end(self) -> None:
        """Answer nothing more: what is being answered ends with the network that runs."""
        self._ended.set()

    def _go_on(self) -> None:
        if self._ended.is_set():
            raise Busy("The server is being stopped; try again in a minute.")

    def _ready(self, path: Sequence[ModelCard]) -> list[ModelCard]:
        return [card for card in path if self._service.status(card).ready]

    def _load(self, path: Sequence[ModelCard]) -> list[Callable[[Tensor], Tensor]]:
        """Return the networks of a path. Keep slices of one file: together they are as large as one network."""
        if not path:
            return []
        service, device = self._service, self._service.machine.background_device
        if not can_be_cut([card for card in path if not card.truncated_from]):
            return [service.networks.get(card, device).logits for card in path]
        from ..lowrank.slices import fetch_slices

        key = (path[0].family, path[0].scheme)
        with self._loading:
            if key not in self._networks:
                self._networks[key] = [*fetch_slices(service.weights, path, device)]
            return self._networks[key]


def _top(answer: Prediction) -> Top:
    from ..classify.path import Top

    labels = tuple(guess.label.index for guess in answer.top)
    return Top(labels, tuple(guess.probability for guess in answer.top))
