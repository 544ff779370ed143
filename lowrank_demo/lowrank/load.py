"""Load the network that a model card describes from its weight file."""

from __future__ import annotations

from collections.abc import Sequence

from ..models.architecture import LAYERS, Layer
from ..models.cards import ModelCard
from ..models.store import LocalFile, WeightStore
from ..models.transfer import OnProgress
from ..nn.alexnet import LowRankAlexNet
from ..nn.nested import place_of
from ..nn.state_dict import read_network, read_version
from .refactor import truncated


def load_network(card: ModelCard, file: LocalFile, layers: Sequence[Layer] = LAYERS) -> LowRankAlexNet:
    """Return the card's network: float32, on the CPU, in evaluation mode, truncated if the card says so.

    Truncation keeps the first components of a nested file, with the nearest version's own tensors, or the mean of those
    of the two versions that the ranks lie between; of any other file it is the truncated SVD.

    Args:
        card: The model.
        file: Its verified weights.
        layers: The dense layers that it factors.

    Raises:
        WeightsRefused: The file is not what the card describes, or was changed since it was verified.
    """
    if file.format == "nested":
        return read_version(place_of(card), file, layers)
    network = read_network(card.scheme, card.truncated_from or card.ranks, file, layers)
    return truncated(network, card.ranks).eval() if card.truncated_from else network


def fetch_network(store: WeightStore, card: ModelCard, on_progress: OnProgress | None = None) -> LowRankAlexNet:
    """Return the card's network, downloading its weights first if they are not on this machine.

    Raises:
        WeightsError: The weights cannot be fetched, or are not what the card describes.
    """
    return load_network(card, store.ensure(card, on_progress))
