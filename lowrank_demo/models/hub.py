"""Fetch one weight file from a Hugging Face Hub repository with the Hub's own client, and check its SHA-256.

The Hub's first answer states the digest of a large file, ``X-Linked-ETag``, and redirects to where the bytes are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsRefused, WeightsUnavailable
from ..runtime.files import file_sha256
from ..runtime.stopping import interruptible
from ..runtime.words import reason
from .transfer import OnProgress, Transfer, one_at_a_time

if TYPE_CHECKING:
    from huggingface_hub.utils import tqdm

ANSWER_SECONDS = 5.0
"""Longest wait for the Hub's first answer, the look-up of its name included."""


def fetch_from_hub(repo: str, name: str, folder: Path, *, max_bytes: int, on_progress: OnProgress | None = None) -> str:
    """Download a file of a Hub repository into a folder, resuming an earlier attempt if there was one.

    Args:
        repo: ``owner/name``.
        name: Name of the file there and here.
        folder: Where it goes. It is created.
        max_bytes: A larger file is refused.
        on_progress: Called a few times a second. If it raises, the download stops and can be resumed.

    Returns:
        The file's full SHA-256 in hex, as the Hub states it and as the file has it.

    Raises:
        WeightsUnavailable: The Hub cannot be reached, is too slow, or does not have the file; or the disk is full.
        WeightsRefused: The Hub states no digest, or sent a file with a different digest.
    """
    import huggingface_hub

    folder.mkdir(parents=True, exist_ok=True)
    url = huggingface_hub.hf_hub_url(repo, name)
    stopped: list[BaseException] = []
    with one_at_a_time(folder / name, on_progress):
        try:
            # Looking up a host's name cannot be interrupted, and has no time limit of its own.
            stated = interruptible(
                lambda: huggingface_hub.get_hf_file_metadata(
                    url, timeout=ANSWER_SECONDS, token=huggingface_hub.get_token()
                ),
                ANSWER_SECONDS,
            )
            _check(stated.etag, stated.size, name, max_bytes)
            path = Path(
                huggingface_hub.hf_hub_download(
                    repo,
                    name,
                    revision=stated.commit_hash,
                    local_dir=folder,
                    tqdm_class=_reporting(on_progress, stopped),
                )
            )
            found = file_sha256(path)
        except WeightsRefused:
            raise
        except Exception as error:  # the client also raises its HTTP library's errors, and there are two such libraries
            if error in stopped:
                raise
            raise WeightsUnavailable(
                f"{name} of the Hub repository {repo} could not be downloaded ({_reason(error)})."
            ) from error
    if found != stated.etag:
        path.unlink()
        raise WeightsRefused(
            f"{name} arrived from the Hub with SHA-256 {found[:16]}…; expected {str(stated.etag)[:16]}…, so it was not "
            "kept. Try again later."
        )
    return found


def _check(digest: str | None, size: int | None, name: str, max_bytes: int) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", digest or ""):
        raise WeightsRefused(
            f"The Hub states no SHA-256 for {name}; expected one, as it has for large files: upload it with "
            "publish-weights."
        )
    if size is not None and size > max_bytes:
        raise WeightsRefused(
            f"{name} is larger than the {max_bytes / 1e6:.0f} MB that its model needs, so it was not fetched."
        )


def _reporting(on_progress: OnProgress | None, stopped: list[BaseException]) -> type[tqdm]:
    """Return a progress bar that draws nothing and reports; what ``on_progress`` raises is added to ``stopped``."""
    from huggingface_hub.utils import tqdm

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.done = int(kwargs.get("initial") or 0)
            self.transfer = Transfer(on_progress, self.done, kwargs.get("total"))

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            try:
                self.transfer.at(self.done)
            except BaseException as error:
                stopped.append(error)
                raise

        def update_transfer(self, n: float) -> None:
            """Ignore bytes in transit. Because this method exists, the client makes one bar for a file, not two."""

    return Reporting


def _reason(error: Exception) -> str:
    """Return what went wrong in a few words: the client's own messages run over many lines."""
    import huggingface_hub.errors as hub

    if isinstance(error, hub.RemoteEntryNotFoundError):
        return "the repository has no such file"
    if isinstance(error, hub.RepositoryNotFoundError):
        return "there is no such repository, or it is private: log in with `hf auth login`"
    lines = reason(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:")[:160]
