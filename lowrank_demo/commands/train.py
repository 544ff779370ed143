"""``train``: learn the ranks, from LMDB files to a model of your own in the app."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ..train.config import RunConfig


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    train = commands.add_parser(
        "train",
        help="learn the ranks, in three stages: reference, compress, finetune",
        description="Train with the learning-compression algorithm with rank selection. One TOML file describes a run. "
        "Run the stages in order: each starts from the result of the one before. With several GPUs: torchrun "
        "--nproc-per-node N -m lowrank_demo train STAGE CONFIG. A further stage, teach, keeps a teacher's answers to "
        "the training images for the others to learn from.",
    )
    train.add_argument("stage", choices=["reference", "compress", "finetune", "teach"])
    train.add_argument("config", type=Path, metavar="CONFIG", help="the TOML file of the run")
    train.add_argument("--resume", action="store_true", help="continue from the last finished epoch")
    train.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    from ..errors import UsageError
    from ..runtime.allocator import keep_freed_memory
    from ..runtime.launch import Place
    from ..runtime.processes import Processes
    from ..runtime.stopping import end_at_once
    from ..train import stages
    from ..train.config import read_config

    config = read_config(args.config)
    if args.stage == "teach":
        return _teach(config, args.resume)
    checkpoint = config.folder / f"{args.stage}.pt"
    if checkpoint.exists() and not args.resume:
        raise UsageError(f"{checkpoint} already exists; continue from it with --resume, or delete it.")
    place = Place.from_environment()
    device = _device(place.world)
    if place.world == 1 and device.index:
        place = dataclasses.replace(place, local_rank=device.index)
    # Not with several processes: torch's threads then sometimes aborted one of them as it exited.
    if place.world == 1:
        keep_freed_memory()
    try:
        with Processes.join(place, backend="gloo" if device.type == "cpu" else None) as processes:
            if place.world > 1:
                # In every step torch waits for the other processes. What is on disk is whole at any moment.
                end_at_once()
            if args.stage == "finetune":
                cards = stages.finetune(config, args.resume, processes)
                for card in cards:
                    print(card)
                if cards:
                    print(
                        f"In the app: LOWRANK_MODELS_DIR={os.path.relpath(cards[0].parent)} python -m lowrank_demo app"
                    )
            else:
                run = stages.reference if args.stage == "reference" else stages.compress
                run(config, args.resume, processes)
    except KeyboardInterrupt as stop:
        kept = "--resume continues from the last finished epoch" if checkpoint.exists() else "no epoch was finished"
        raise KeyboardInterrupt(f"stopped; {kept}") from stop
    return 0


def _teach(config: RunConfig, resume: bool) -> int:
    from ..runtime.allocator import keep_freed_memory
    from ..train.teach import teach

    keep_freed_memory()
    try:
        print(teach(config, resume, _device()))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("stopped; --resume continues") from stop
    return 0


def _device(processes: int = 1) -> torch.device:
    """Return the device that LOWRANK_DEVICE names; training computes with torch, whatever engine the app uses.

    Args:
        processes: How many train together.

    Raises:
        SettingError: The device is not there.
        UsageError: It is one GPU for several processes.
    """
    from ..decode.choose import choose_device
    from ..errors import UsageError
    from ..settings import Settings

    settings = Settings.from_environment({**os.environ, "LOWRANK_ENGINE": ""})
    if processes > 1 and settings.device.startswith("cuda:"):
        raise UsageError(
            f"LOWRANK_DEVICE is {settings.device}, but {processes} processes train together, each on a GPU of its own; "
            "set LOWRANK_DEVICE to cuda, or start one process."
        )
    return choose_device(settings)
