"""Load all networks of a path at once: each is a slice of the same factors, so that many need the memory of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..models.cards import ModelCard
from ..models.store import WeightStore
from ..nn.alexnet import LowRankAlexNet
from ..nn.nested import Version, form_of, place_of, version_state
from ..nn.state_dict import read_network, read_versions
from .c_step import cut_factors


def fetch_slices(
    store: WeightStore, cards: Sequence[ModelCard], device: torch.device | str = "cpu"
) -> list[LowRankAlexNet]:
    """Return the networks of cards that share one weight file: float32, in evaluation mode.

    Args:
        store: Has the weight file.
        cards: Versions of a nested file and cuts of them; or one model and cuts of it, whose factors are then ordered
            by their singular values first. None of them may be changed: their tensors are shared.
        device: Where the networks are.

    Raises:
        WeightsError: The weights are not here, or are not what the cards describe.
    """
    file = store.ensure(cards[0])
    if file.format == "nested":
        return read_versions([place_of(card) for card in cards], file, device=device)
    first = cards[0]
    whole = _ordered(read_network(first.scheme, first.truncated_from or first.ranks, file)).to(device)
    made: list[LowRankAlexNet] = []
    for card in cards:
        version = Version(card.scheme, card.version, card.ranks)
        form = form_of(version)
        form.load_state_dict(version_state(whole.state_dict(), version, form), assign=True)
        made.append(form.eval())
    return made


@torch.no_grad()
def _ordered(network: LowRankAlexNet) -> LowRankAlexNet:
    """Factor each layer's product again, in place, with its singular values in descending order."""
    for layer in network.layers:
        pair = network.get_submodule(layer.key)
        v, u = pair.get_parameter("V.weight"), pair.get_parameter("U.weight")
        new_v, new_u = cut_factors(v, u, network.scheme, len(v))
        v.copy_(new_v)
        u.copy_(new_u)
    return network
