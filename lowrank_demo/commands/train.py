"""``train``: learn the ranks, from LMDB files to a model of your own in the app."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    train = commands.add_parser(
        "train",
        help="learn the ranks, in three stages: reference, compress, finetune",
        description="Train with the learning-compression algorithm with rank selection. One TOML file describes a run. "
        "Run the stages in order: each starts from the result of the one before. With several GPUs: torchrun "
        "--nproc-per-node N -m lowrank_demo train STAGE CONFIG.",
    )
    train.add_argument("stage", choices=["reference", "compress", "finetune"])
    train.add_argument("config", type=Path, metavar="CONFIG", help="the TOML file of the run")
    train.add_argument("--resume", action="store_true", help="continue from the last finished epoch")
    train.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    from ..errors import UsageError
    from ..runtime.allocator import keep_freed_memory
    from ..runtime.processes import Processes, rank_and_world
    from ..train import stages
    from ..train.config import read_config

    config = read_config(args.config)
    checkpoint = config.folder / f"{args.stage}.pt"
    if checkpoint.exists() and not args.resume:
        raise UsageError(f"{checkpoint} already exists; continue from it with --resume, or delete it.")
    # Not with several processes: torch's threads then sometimes aborted one of them as it exited.
    if rank_and_world()[1] == 1:
        keep_freed_memory()
    try:
        with Processes.join() as processes:
            if args.stage == "finetune":
                card = stages.finetune(config, args.resume, processes)
                if card:
                    models = os.path.relpath(card.parent)
                    print(f"{card}\nIn the app: LOWRANK_MODELS_DIR={models} python -m lowrank_demo app")
            else:
                run = stages.reference if args.stage == "reference" else stages.compress
                run(config, args.resume, processes)
    except KeyboardInterrupt as stop:
        kept = "--resume continues from the last finished epoch" if checkpoint.exists() else "no epoch was finished"
        raise KeyboardInterrupt(f"stopped; {kept}") from stop
    return 0
