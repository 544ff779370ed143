"""``publish-weights`` and ``publish-space``: what would go to the Hub, and, when asked for, its upload."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Literal

from ..models.download import print_download


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    weights = commands.add_parser("publish-weights", help="upload models to a Hub repository as safetensors")
    weights.add_argument("models", nargs="+", metavar="ID", help="family/scheme/version")
    weights.set_defaults(command=_weights)
    space = commands.add_parser("publish-space", help="upload the app to a Hugging Face Space")
    space.add_argument("--zero-gpu", action="store_true", help="pin what ZeroGPU takes: Python 3.12, torch 2.8 to 2.11")
    space.set_defaults(command=_space)
    for command in (weights, space):
        command.add_argument("--repo", required=True, metavar="OWNER/NAME", help="made where there is none")
        command.add_argument("--private", action="store_true", help="make it a private one")
        command.add_argument("--upload", action="store_true", help="upload; otherwise only what would go is listed")


def _weights(args: argparse.Namespace) -> int:
    from ..publish.upload import stage_weights
    from ..serve.service import Service
    from ..settings import Settings

    service = Service(Settings.from_environment())
    cards = [service.zoo.get(model) for model in args.models]
    models = [(card, service.weights.ensure(card, print_download)) for card in cards]
    with tempfile.TemporaryDirectory(prefix="lowrank-") as folder:
        stage_weights(models, args.repo, Path(folder))
        return _finish(args, Path(folder), "model")


def _space(args: argparse.Namespace) -> int:
    from ..publish.upload import stage_space

    with tempfile.TemporaryDirectory(prefix="lowrank-") as folder:
        stage_space(Path(folder), zero_gpu=args.zero_gpu)
        return _finish(args, Path(folder), "space")


def _finish(args: argparse.Namespace, folder: Path, kind: Literal["model", "space"]) -> int:
    from ..publish.upload import staged_files, upload

    files = staged_files(folder)
    for file in files:
        print(f"{file.bytes / 1e6:8.2f} MB  {file.name}")
    print(f"{sum(file.bytes for file in files) / 1e6:8.2f} MB  in {len(files)} files for the {kind} {args.repo}")
    if not args.upload:
        print("Nothing was uploaded: the same command with --upload does it.")
        return 0
    print(upload(folder, args.repo, kind, private=args.private))
    return 0
