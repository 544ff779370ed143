"""Stage folders on this machine, for weights or for the app as a Space, and upload them to the Hugging Face Hub."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
from safetensors import SafetensorError

from ..errors import NotPublished, NotWritten, UsageError
from ..lowrank.load import load_network
from ..models.cards import ModelCard
from ..models.store import LocalFile, hub_name
from ..runtime.schema import shown
from ..runtime.words import counted, reason
from ..settings import ASSETS

SPACE_FILES = ("app.py", "requirements.txt", "README.md", "LICENSE")
SPACE_FOLDERS = ("lowrank_demo", "assets")
ZERO_GPU_TORCH = ">=2.8,<2.12"
ZERO_GPU_PYTHON = "3.12"

_WEIGHTS_README = """---
license: other
library_name: pytorch
pipeline_tag: image-classification
tags: [low-rank, model-compression, alexnet]
---

# Low-rank AlexNet weights

AlexNets whose layers' ranks were learned (Idelbayev & Carreira-Perpiñán, CVPR 2020), as safetensors files. With
`LOWRANK_HUB_REPO={repo}` the app downloads them from here.

| file | ranks of conv1..conv5, fc6..fc8 | million MACs | licence |
|---|---|---|---|
{rows}
"""


@dataclass(frozen=True)
class StagedFile:
    """A file that is ready for upload."""

    name: str
    """Path in the repository."""
    bytes: int
    """Size."""


@contextlib.contextmanager
def staging_folder(fill: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a new, filled folder, which is deleted when the block ends.

    Args:
        fill: Called with the empty folder.

    Raises:
        NotWritten: It could not be filled, usually because the disk is full.
    """
    with contextlib.ExitStack() as ending:
        try:
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="lowrank-")))
            fill(folder)
        except (OSError, SafetensorError) as error:
            raise NotWritten(
                f"The files could not be copied to {tempfile.gettempdir()} ({reason(error)}); free space there, or set "
                "TMPDIR."
            ) from error
        yield folder


def stage_weights(models: Sequence[tuple[ModelCard, LocalFile]], repo: str, folder: Path) -> None:
    """Fill a folder with weight files under the names that the app expects in a Hub repository, and a README.

    A safetensors file of one model is copied unchanged. A pickled one becomes float32 safetensors, and so does each
    version of a file that holds several.

    Args:
        models: Each model and its weight file.
        repo: ``owner/name`` of the repository, for the README.
        folder: An empty folder.

    Raises:
        WeightsRefused: A file is not what its card describes.
        UsageError: A model is a truncated one.
    """
    rows: list[str] = []
    for card, file in models:
        if card.truncated_from:
            raise UsageError(
                f"{card.id} is a truncated model; expected a whole one: publish that model, or convert this one."
            )
        network = load_network(card, file)
        target = folder / hub_name(card)
        if file.format == "safetensors":
            shutil.copyfile(file.path, target)
        else:
            state = {key: value.contiguous() for key, value in network.state_dict().items()}
            safetensors.torch.save_file(state, target, {"format": "pt"})
        rows.append(
            f"| {target.name} | {', '.join(map(str, card.ranks))} | {card.cost.macs / 1e6:.2f} | {card.licence} |"
        )
    (folder / "README.md").write_text(_WEIGHTS_README.format(repo=repo, rows="\n".join(rows)), encoding="utf-8")


def stage_space(folder: Path, *, zero_gpu: bool, source: Path = ASSETS.parent) -> None:
    """Fill a folder with what a Space needs to run the app, without tests and tools.

    Args:
        folder: An empty folder.
        zero_gpu: Pin torch and Python to versions that ZeroGPU supports.
        source: The project's folder.

    Raises:
        UsageError: A file of the project is missing, or README.md and requirements.txt name different versions of
            gradio.
    """
    missing = [name for name in (*SPACE_FILES, *SPACE_FOLDERS) if not (source / name).exists()]
    if missing:
        raise UsageError(f"{source} lacks {missing[0]}; expected the project's folder: run this in a clone of it.")
    for name in SPACE_FILES:
        shutil.copyfile(source / name, folder / name)
    for name in SPACE_FOLDERS:
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "preview"))
    requirements, readme = folder / "requirements.txt", folder / "README.md"
    _check_gradio(requirements.read_text(encoding="utf-8"), readme.read_text(encoding="utf-8"))
    if zero_gpu:
        _replace_line(requirements, r"^torch\b.*$", f"torch{ZERO_GPU_TORCH}")
        _replace_line(readme, r"^python_version:.*$", f'python_version: "{ZERO_GPU_PYTHON}"')


def _check_gradio(requirements: str, readme: str) -> None:
    """Check that both name the same gradio: a Space installs README.md's version first, then the requirements."""
    pinned = re.search(r"^gradio==(\d+\.\d+)\.", requirements, re.MULTILINE)
    stated = re.search(r"^sdk_version: (\d+\.\d+)\.\d+$", readme, re.MULTILINE)
    if not pinned or not stated or pinned[1] != stated[1]:
        raise UsageError(
            f"requirements.txt pins gradio {pinned[1] if pinned else 'nowhere'} and README.md's sdk_version is "
            f"{stated[1] if stated else 'missing'}; expected the same version: change one of them."
        )


def _replace_line(file: Path, pattern: str, line: str) -> None:
    text, count = re.subn(pattern, line, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise UsageError(f"{file.name} has {counted(count, 'line')} that match {pattern}; expected one.")
    file.write_text(text, encoding="utf-8")


def staged_files(folder: Path) -> list[StagedFile]:
    """Return the files in a folder and its subfolders, sorted by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [StagedFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]


def upload(folder: Path, repo: str, kind: Literal["model", "space"], *, private: bool) -> str:
    """Upload a staged folder in one commit.

    The token comes from ``hf auth login`` or ``HF_TOKEN``, the address of the Hub from ``HF_ENDPOINT`` if it is set.

    Args:
        folder: The staged folder.
        repo: ``owner/name`` of the repository, which is created if it does not exist.
        kind: Kind of the repository.
        private: Create a private repository.

    Returns:
        The address of the repository.

    Raises:
        UsageError: ``repo`` is not the name of a repository.
        NotPublished: There is no token, or the Hub cannot be reached or refuses the upload.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError

    if not get_token():
        raise NotPublished("There is no Hub token on this machine; run `hf auth login` or set HF_TOKEN.")
    api = HfApi()
    try:
        address = api.create_repo(
            repo, repo_type=kind, private=private, exist_ok=True, space_sdk="gradio" if kind == "space" else None
        )
        api.upload_folder(
            repo_id=address.repo_id, folder_path=folder, repo_type=kind, commit_message="Upload low-rank AlexNet"
        )
    except HFValidationError as error:
        raise UsageError(f"{shown(repo)} is not the name of a repository; expected owner/name.") from error
    except Exception as error:  # the client's versions use different HTTP libraries, each with its own errors
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise NotPublished(
            f"{repo} was not uploaded ({said}); try again: files that have arrived are not sent again."
        ) from error
    return str(address)
