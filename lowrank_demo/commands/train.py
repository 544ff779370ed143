"""``train reference|compress|finetune``: learn the ranks, from an LMDB file to a model of one's own in the app."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    train = commands.add_parser(
        "train",
        help="learn the ranks: reference, compress, finetune",
        description="The learning-compression algorithm with rank selection. One TOML file describes a run; the "
        "stages are run in order, each going on from the one before. Several GPUs: torchrun --nproc-per-node N -m "
        "lowrank_demo train STAGE CONFIG.",
    )
    train.add_argument("stage", choices=["reference", "compress", "finetune"])
    train.add_argument("config", type=Path, metavar="CONFIG", help="the run's TOML file")
    train.add_argument("--resume", action="store_true", help="go on from the last epoch that was finished")
    train.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    from ..errors import UsageError
    from ..runtime.allocator import keep_freed_memory
    from ..runtime.processes import Processes, place
    from ..train import stages
    from ..train.config import read_config

    config = read_config(args.config)
    checkpoint = config.folder / f"{args.stage}.pt"
    if checkpoint.exists() and not args.resume:
        raise UsageError(f"{checkpoint} is there already; go on from it with --resume, or delete it.")
    # With several processes one was now and then aborted by torch's threads at its very end; alone none was.
    if place()[1] == 1:
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
        kept = "--resume goes on from the last finished epoch" if checkpoint.exists() else "no epoch was finished"
        raise KeyboardInterrupt(f"stopped; {kept}") from stop
    return 0
