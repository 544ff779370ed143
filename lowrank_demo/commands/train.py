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

_STAGES = {
    "reference": "train the dense network",
    "compress": "learn the ranks",
    "finetune": "train the factored network, and write its card and weights",
    "teach": "keep a teacher's answers to the training images, for the other stages to learn from",
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    train = commands.add_parser(
        "train",
        help="learn the ranks, in three stages: reference, compress, finetune",
        description="Train with the learning-compression algorithm with rank selection. One TOML file describes a run. "
        "Run the stages in order: each starts from the result of the one before. With several GPUs: torchrun "
        "--nproc-per-node N -m lowrank_demo train STAGE CONFIG.",
    )
    stages = train.add_subparsers(required=True, dest="stage", metavar="STAGE")
    for stage, does in _STAGES.items():
        parser = stages.add_parser(stage, help=does, description=f"{does[0].upper()}{does[1:]}.")
        parser.add_argument("config", type=Path, metavar="CONFIG", help="the TOML file of the run")
        parser.add_argument("--resume", action="store_true", help="continue from the last finished epoch")
        parser.set_defaults(command=_train)
    does = "run the paper's experiment with LeNet300, on MNIST or Fashion-MNIST"
    lenet = stages.add_parser(
        "lenet300",
        help=does,
        description=f"{does[0].upper()}{does[1:]}: ranks learned at the authors' values of λ, and networks truncated "
        "by SVD to the same MACs, fine-tuned alike. A run that was stopped continues after the last finished λ.",
    )
    lenet.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="MNIST's four idx files, gzipped or not; default: Debian's Fashion-MNIST",
    )
    lenet.add_argument("--to", type=Path, default=Path("lenet300"), metavar="FOLDER", help="default: lenet300")
    lenet.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE", help="share of the authors' epochs; default: 1"
    )
    lenet.set_defaults(command=_lenet300)


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


def _lenet300(args: argparse.Namespace) -> int:
    from ..charts.lenet300 import lenet300_page
    from ..errors import UsageError
    from ..reproduce.idx import FASHION_MNIST, read_digits
    from ..reproduce.lenet300 import AFTERWARDS, reproduce
    from ..reproduce.results import Settings
    from ..reproduce.table import table
    from ..runtime.allocator import keep_freed_memory
    from ..train.output import writing

    if not 0 < args.scale <= 1:
        raise UsageError(f"--scale is {args.scale:g}; expected a share of the epochs, above 0 and at most 1.")
    digits = read_digits(args.data or FASHION_MNIST)
    keep_freed_memory()
    try:
        results = reproduce(digits, args.to, Settings().scaled(args.scale))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"stopped; {AFTERWARDS}") from stop
    for name, text in (("table.md", table(results)), ("figure.html", lenet300_page(results))):
        with writing(args.to / name, AFTERWARDS) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(table(results), end="")
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
        UsageError: It is one GPU, but several processes train.
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
