"""``publish-weights`` and ``publish-space``: list what would go to the Hub, and upload it on request."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from ..runtime.words import counted


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    weights = commands.add_parser("publish-weights", help="upload models to a Hub repository as safetensors")
    weights.add_argument("models", nargs="+", metavar="ID", help="family/scheme/version")
    weights.set_defaults(command=_weights)
    space = commands.add_parser("publish-space", help="upload the app to a Hugging Face Space")
    space.add_argument("--zero-gpu", action="store_true", help="pin what ZeroGPU needs: Python 3.12, torch 2.8 to 2.11")
    space.set_defaults(command=_space)
    for command in (weights, space):
        command.add_argument("--repo", required=True, metavar="OWNER/NAME", help="repository; created if missing")
        command.add_argument("--private", action="store_true", help="create it as a private repository")
        command.add_argument("--upload", action="store_true", help="upload; without this, only list the files")


def _weights(args: argparse.Namespace) -> int:
    from ..models.store import WeightStore
    from ..models.transfer import print_download
    from ..publish.upload import stage_weights, staging_folder
    from ..settings import Settings

    store = WeightStore.from_settings(Settings.from_environment())
    cards = [store.zoo.get(model) for model in args.models]
    models = [(card, store.ensure(card, print_download)) for card in cards]
    with staging_folder(lambda folder: stage_weights(models, args.repo, folder)) as folder:
        return _list_and_upload(args, folder, "model")


def _space(args: argparse.Namespace) -> int:
    from ..publish.upload import stage_space, staging_folder

    with staging_folder(lambda folder: stage_space(folder, zero_gpu=args.zero_gpu)) as folder:
        return _list_and_upload(args, folder, "space")


def _list_and_upload(args: argparse.Namespace, folder: Path, kind: Literal["model", "space"]) -> int:
    from ..publish.upload import staged_files, upload

    files = staged_files(folder)
    for file in files:
        print(f"{file.bytes / 1e6:8.2f} MB  {file.name}")
    total = sum(file.bytes for file in files)
    print(f"{total / 1e6:8.2f} MB  in {counted(len(files), 'file')} for the {kind} {args.repo}")
    if not args.upload:
        print("Nothing was uploaded. Add --upload to upload these files.")
        return 0
    print(upload(folder, args.repo, kind, private=args.private))
    return 0
