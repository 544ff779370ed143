"""Find and download weight files.

A model's weights are taken from the first of these places that has them: the files bundled with the app, the cache, the
Hub repository if one is configured, the published address. The full SHA-256 of a downloaded file is recorded beside it,
and every later load checks the file against it. This module does not load torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import WeightsUnavailable
from ..runtime.files import atomic_write
from ..settings import Settings
from .cards import ModelCard
from .download import download
from .hub import fetch_from_hub
from .transfer import OnProgress
from .zoo import Zoo, read_zoo

Format = Literal["pickle", "safetensors", "nested"]
Where = Literal["bundled", "cached", "to download", "missing"]
"""``missing``: bundled weights, or a user's own, that were beside their card when it was read but no longer are."""

_NAMED = 2
"""Largest number of models that a message names."""


@dataclass(frozen=True)
class LocalFile:
    """A weight file on this machine, and what its content must be."""

    path: Path
    sha256: str
    """Expected SHA-256 in hex, or its first digits."""
    format: Format
    statistics: LocalFile | None = None
    """The file with the statistics of a nested file's cuts."""

    @property
    def digests(self) -> str:
        """What identifies the tensors: the digest, and that of the statistics."""
        return self.sha256 + (f"+{self.statistics.sha256}" if self.statistics else "")


class WeightStore:
    """Finds and downloads the weights of model cards.

    Args:
        zoo: The cards; bundled files are in its folder.
        cache_dir: Folder for downloads.
        hub_repo: ``owner/name`` of a Hub repository with files ``family-scheme-version.safetensors``, or None.
    """

    def __init__(self, zoo: Zoo, cache_dir: Path, hub_repo: str | None = None) -> None:
        self.zoo = zoo
        self._cache = cache_dir
        self._hub_repo = hub_repo

    @classmethod
    def from_settings(cls, settings: Settings) -> WeightStore:
        """Read the model cards that the settings name.

        Raises:
            CardError: The cards cannot be read.
        """
        return cls(read_zoo(settings.zoo, settings.models_dir), settings.cache_dir, settings.hub_repo)

    def where(self, card: ModelCard) -> Where:
        """Return where the card's weights are now. Only file names are checked; no server is contacted."""
        if card.bundled:
            return "bundled" if (self.zoo.folder / card.weights.file).is_file() else "missing"
        return "cached" if self._cached(card) else "to download"

    def ensure(self, card: ModelCard, on_progress: OnProgress | None = None) -> LocalFile:
        """Return the card's weight file, downloading it if it is not on this machine.

        Raises:
            WeightsUnavailable: It cannot be downloaded, or is no longer beside its card; the message lists the models
                whose weights are here.
            WeightsRefused: The downloaded file is not the one that the card describes.
        """
        source = card.weights
        if card.bundled:
            path = self.zoo.folder / source.file
            if not path.is_file():
                raise WeightsUnavailable(
                    f"The weights of {card.id} are missing; expected {path}. Put the file there again, or choose a "
                    f"model whose weights are here: {self._here()}."
                )
            return LocalFile(path, source.sha256, source.format, self.statistics(card))
        cached = self._cached(card)
        if cached:
            return cached
        try:
            return self._fetch(card, on_progress)
        except WeightsUnavailable as error:
            raise WeightsUnavailable(
                f"The weights of {card.id} are not on this machine. {error} Check the network, or choose a model whose "
                f"weights are here: {self._here()}."
            ) from error

    def statistics(self, card: ModelCard) -> LocalFile | None:
        """Return the file with the statistics of a nested file's cuts, if there is one."""
        source = card.weights.statistics
        return LocalFile(self.zoo.folder / source.file, source.sha256, "safetensors") if source else None

    def _here(self) -> str:
        """Name the models whose weights are on this machine."""
        here = [card.id for card in self.zoo if self.where(card) in ("bundled", "cached")]
        if len(here) > _NAMED:
            here[_NAMED:] = [f"and {len(here) - _NAMED} more"]
        return ", ".join(here) or "there is none"

    def _cached(self, card: ModelCard) -> LocalFile | None:
        """Return the cached file with the digest that it must have; None if it is not in the cache."""
        published = self._cache / card.weights.file
        if published.is_file():
            # A file that the user put there has no record: the card's own digits decide.
            digest = _recorded_digest(published) or card.weights.sha256
            if not digest.startswith(card.weights.sha256):
                digest = card.weights.sha256
            return LocalFile(published, digest, card.weights.format)
        from_hub = self._cache / hub_name(card)
        digest = _recorded_digest(from_hub)
        if self._hub_repo and digest and from_hub.is_file():
            return LocalFile(from_hub, digest, "safetensors")
        return None

    def _fetch(self, card: ModelCard, on_progress: OnProgress | None) -> LocalFile:
        """Download the weights from the Hub or, where it does not have them, from the published address."""
        # A little more than the tensors of a float32 state_dict of each model in the file.
        alike = [one for one in self.zoo if one.weights == card.weights]
        max_bytes = int(sum(one.cost.fp32_bytes for one in alike) * 1.05) + (1 << 20)
        failures: list[str] = []
        if self._hub_repo:
            target = self._cache / hub_name(card)
            try:
                digest = fetch_from_hub(
                    self._hub_repo, target.name, self._cache, max_bytes=max_bytes, on_progress=on_progress
                )
                return _recorded(LocalFile(target, digest, "safetensors"))
            except WeightsUnavailable as error:
                failures.append(str(error))
        source = card.weights
        if source.url:
            target = self._cache / source.file
            try:
                digest = download(
                    source.url, target, sha256=source.sha256, max_bytes=max_bytes, on_progress=on_progress
                )
                return _recorded(LocalFile(target, digest, source.format))
            except WeightsUnavailable as error:
                failures.append(str(error))
        raise WeightsUnavailable(" ".join(failures))


def hub_name(card: ModelCard) -> str:
    """Return the name of a model's file in a Hub repository."""
    return f"{card.family}-{card.scheme}-{card.version}.safetensors"


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _recorded_digest(path: Path) -> str | None:
    try:
        text = _digest_file(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def _recorded(file: LocalFile) -> LocalFile:
    """Record the digest of a file that was verified, and return the file."""
    with atomic_write(_digest_file(file.path)) as temporary:
        temporary.write_text(file.sha256 + "\n", encoding="ascii")
    return file
