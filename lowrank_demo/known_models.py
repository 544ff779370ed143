"""The models that the environment knows, as networks with their weights: for Python and for training."""

from __future__ import annotations

from .nn.alexnet import LowRankAlexNet
from .nn.state_dict import load_network
from .progress import print_download
from .settings import Settings
from .weights import WeightStore
from .zoo import ModelCard, Zoo
from .zoo_file import read_zoo


class KnownModels:
    """The models of the environment's zoo, with their weights."""

    def __init__(self) -> None:
        settings = Settings.from_environment()
        self.zoo: Zoo = read_zoo(settings.zoo, settings.models_dir)
        self._store = WeightStore(self.zoo, settings.cache_dir, settings.hub_repo)

    def load(self, card: ModelCard, progress: bool = True) -> LowRankAlexNet:
        """The card's network in evaluation mode; weights that are not here are downloaded.

        Raises:
            WeightsError: They cannot be had, or are not the card's.
        """
        return load_network(card, self._store.ensure(card, print_download if progress else None))
