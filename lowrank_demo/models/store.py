"""Card -> verified local file. No torch: knowing what is here costs nothing.

Weights are looked for in this order: bundled with the app, the local cache, a Hub repository where one is configured,
the published address. A downloaded file's full SHA-256 is recorded beside it and holds for every later load.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import WeightsUnavailable
from ..runtime.files import atomic_write
from ..settings import Settings
from .cards import ModelCard, Zoo, read_zoo
from .download import CONNECT_SECONDS, OnProgress, download

Where = Literal["bundled", "cached", "to download"]


@dataclass(frozen=True)
class LocalFile:
    """A weight file on this machine and what it must be."""

    path: Path
    sha256: str
    format: Literal["pickle", "safetensors"]


class WeightStore:
    """Finds and downloads the weights of model cards.

    Args:
        zoo: The cards; bundled files lie beside it.
        cache_dir: Where downloads are kept.
        hub_repo: ``owner/name`` of a Hub repository with files ``family-scheme-version.safetensors``, or None.
    """

    def __init__(self, zoo: Zoo, cache_dir: Path, hub_repo: str | None = None) -> None:
        self.zoo = zoo
        self._cache = cache_dir
        self._hub_repo = hub_repo

    @classmethod
    def from_settings(cls, settings: Settings) -> WeightStore:
        """Read the model cards that the settings name and find their weights.

        Raises:
            CardError: The cards cannot be read.
        """
        return cls(read_zoo(settings.zoo, settings.models_dir), settings.cache_dir, settings.hub_repo)

    def where(self, card: ModelCard) -> Where:
        """Where the card's weights are now; looks at names only, contacts nothing."""
        if card.bundled:
            return "bundled"
        return "cached" if self._cached(card) else "to download"

    def ensure(self, card: ModelCard, on_progress: OnProgress | None = None) -> LocalFile:
        """The card's weight file, downloaded if it is not here.

        Raises:
            WeightsUnavailable: It is not here and cannot be fetched; the message says which models are usable now.
            WeightsRefused: What was fetched is not the file that the card describes.
        """
        source = card.weights
        if card.bundled:
            return LocalFile(self.zoo.folder / source.file, source.sha256, source.format)
        cached = self._cached(card)
        if cached:
            return cached
        try:
            return self._fetch(card, on_progress)
        except WeightsUnavailable as error:
            here = [other.id for other in self.zoo if self.where(other) != "to download"]
            raise WeightsUnavailable(
                f"The weights of {card.id} are not on this machine. {error} Check the network, or choose "
                f"one that is here: {', '.join(here) or 'none is'}."
            ) from error

    def _cached(self, card: ModelCard) -> LocalFile | None:
        """The cached file with the full digest that was recorded when it was verified."""
        published = self._cache / card.weights.file
        if published.is_file():
            # Without a record (a file that was put there by hand) the card's own digits decide.
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
        """Download from the first source that has the file, asking each in turn."""
        sources: list[tuple[str, str, str | None, Literal["pickle", "safetensors"], dict[str, str]]] = []
        if self._hub_repo:
            import huggingface_hub

            name = hub_name(card)
            token = huggingface_hub.get_token()
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            sources.append((huggingface_hub.hf_hub_url(self._hub_repo, name), name, None, "safetensors", headers))
        published = card.weights
        if published.url:
            sources.append((published.url, published.file, published.sha256, published.format, {}))
        failures: list[str] = []
        for url, name, expected, form, headers in sources:
            target = self._cache / name
            try:
                digest = download(
                    url,
                    target,
                    sha256=expected,
                    max_bytes=int(card.cost.fp32_bytes * 1.05) + (1 << 20),
                    on_progress=on_progress,
                    headers=headers,
                    connect_seconds=CONNECT_SECONDS / len(sources),
                )
            except WeightsUnavailable as error:
                failures.append(str(error))
                continue
            _record_digest(target, digest)
            return LocalFile(target, digest, form)
        raise WeightsUnavailable(" ".join(failures))


def hub_name(card: ModelCard) -> str:
    """Name of a card's file in a Hub repository."""
    return f"{card.family}-{card.scheme}-{card.version}.safetensors"


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _recorded_digest(path: Path) -> str | None:
    try:
        text = _digest_file(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def _record_digest(path: Path, digest: str) -> None:
    record = _digest_file(path)
    with atomic_write(record) as temporary:
        temporary.write_text(digest + "\n", encoding="ascii")
