"""Low-rank AlexNet models of Idelbayev & Carreira-Perpiñán (CVPR 2020): load, classify, inspect, validate, train.

``low_rank_alexnet`` works as in the original release. Importing the package does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["low_rank_alexnet"]

if TYPE_CHECKING:
    from .nn.alexnet import LowRankAlexNet


def low_rank_alexnet(
    scheme: str, version: str, pretrained: bool = False, progress: bool = True, family: str = "published"
) -> LowRankAlexNet:
    """Build a low-rank AlexNet with the ranks of a released version.

    Args:
        scheme: ``scheme_1`` or ``scheme_2``.
        version: ``v1`` to ``v4`` or ``v5``.
        pretrained: Load the weights, downloading them if necessary; otherwise the weights are random.
        progress: Show the progress of the download on standard error.
        family: ``published`` for the weights of the paper, ``bundled`` for those bundled with the app.

    Returns:
        The network: float32, on the CPU, in evaluation mode if ``pretrained``.

    Raises:
        lowrank_demo.errors.UnknownModel: The model does not exist.
        lowrank_demo.errors.WeightsError: The weights cannot be downloaded, or are not the published ones.
    """
    from .lowrank.load import fetch_network
    from .models.store import WeightStore
    from .models.transfer import print_download
    from .nn.alexnet import LowRankAlexNet
    from .settings import Settings

    store = WeightStore.from_settings(Settings.from_environment())
    card = store.zoo.get(f"{family}/{scheme}/{version}")
    if not pretrained:
        return LowRankAlexNet(card.scheme, card.ranks)
    return fetch_network(store, card, print_download if progress else None)
