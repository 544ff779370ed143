"""``validate``: measure models on an LMDB file, and compare with what was published."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError
from ..models.download import print_download
from ..runtime.files import atomic_write
from ..runtime.progress import ProgressLine
from ..runtime.stopping import STOPPED, stoppable

if TYPE_CHECKING:
    from types import FrameType

    from ..validate.report import ModelResult
    from ..validate.run import ValidationRun
    from ..validate.sums import Sums

_SAVE_SECONDS = 20.0
_TOLERANCE = 0.3
_PATIENCE = datetime.timedelta(days=2)
"""Slices may take unequal time; a process that died is noticed at once, by its closed connection."""
_LOST = "stopped, since another process of this run ended early or all were told to stop"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    validate = commands.add_parser(
        "validate",
        help="measure errors on an LMDB file",
        description="Measure top-1 and top-5 error and loss of any number of models in one pass over an LMDB file. "
        "Ctrl-C stops and prints what is known; --resume goes on from there. Exit codes: 0 done, 1 usage, 2 bad data "
        "or --verify failed, 3 weights missing.",
    )
    validate.add_argument(
        "--lmdb-file", type=Path, required=True, metavar="F", help="built by build-lmdb or tensorpack"
    )
    validate.add_argument(
        "--models", metavar="LIST", help="ids separated by commas, 'published' or 'all'; default: those that are here"
    )
    validate.add_argument("--batch-size", type=int, default=64, metavar="N", help="default: 64")
    validate.add_argument("--device", help="auto, cpu, cuda or cuda:N; default: LOWRANK_DEVICE")
    validate.add_argument("--decoder", help="auto, dali-gpu, dali-cpu or pillow; default: LOWRANK_DECODER")
    validate.add_argument("--engine", help="torch or openvino; default: LOWRANK_ENGINE")
    validate.add_argument("--precision", help="fp32 or bf16; default: LOWRANK_PRECISION")
    validate.add_argument("--json", type=Path, metavar="OUT", help="write the whole report")
    validate.add_argument("--html", type=Path, metavar="OUT", help="write the report as a page that needs no server")
    validate.add_argument("--csv", type=Path, metavar="OUT", help="write one line for each model")
    validate.add_argument("--resume", action="store_true", help="go on from where the same command was stopped")
    validate.add_argument(
        "--check-file", action="store_true", help="first compare the file with its manifest's SHA-256"
    )
    validate.add_argument(
        "--verify",
        nargs="?",
        type=float,
        const=_TOLERANCE,
        metavar="POINTS",
        help=f"fail when a measured error is further from the published one (default: {_TOLERANCE} percentage points)",
    )
    validate.set_defaults(command=_validate)


def _validate(args: argparse.Namespace) -> int:
    from ..serve.service import Service
    from ..settings import Settings
    from ..validate.report import disagreements, dump_json, report_csv, report_text
    from ..validate.run import choose_models, open_validation

    if not 1 <= args.batch_size <= 4096:
        raise UsageError(f"The batch size is {args.batch_size}; expected 1 to 4096.")
    for output in (args.json, args.csv, args.html):
        if output and not output.absolute().parent.is_dir():
            raise UsageError(f"{output} lies in no folder that is there; make it first.")
    service = Service(dataclasses.replace(Settings.from_environment(_environment(args)), models_in_memory=100))
    cards = choose_models(service, args.models)
    if args.verify is not None and not any(card.published for card in cards):
        raise UsageError("--verify compares with published errors, and none of these models was published.")
    if args.check_file:
        from ..data.lmdb.manifest import verify

        verify(args.lmdb_file)

    from ..runtime.processes import place

    rank, world = place()
    name = f"slice {rank + 1} of {world}" if world > 1 else ""
    if world > 1:
        # With this signal torchrun ends the other processes when one is lost, while they still load as well.
        signal.signal(signal.SIGTERM, _terminated)
    with open_validation(
        service,
        args.lmdb_file,
        cards,
        batch_size=args.batch_size,
        resume=args.resume,
        on_download=print_download,
        part=(rank, world),
    ) as run:
        if run.resumed_at is not None:
            print(f"{name + ': ' if name else ''}going on from record {run.resumed_at:,}", file=sys.stderr)
        stopped = _iterate(run, rank, name)
        if stopped:
            kept = _save(run)
            if rank == 0:
                print(f"\n{stopped}{'; --resume goes on from here' if kept else ''}.", file=sys.stderr)
        elif world > 1:
            # Kept until all slices are joined: should another process be lost, this one's work is not.
            _save(run)
            run.add(_others(run.counted()))
        report = run.report()
        if not stopped:
            run.forget()
    if rank != 0 or (world > 1 and stopped):
        return 130 if stopped else 0
    print(report_text(report))
    for output, text in ((args.json, dump_json), (args.csv, report_csv)):
        if output:
            _write(output, text(report))
    if args.html and report.count:
        from ..charts.report_page import report_page

        _write(args.html, report_page(report, service.zoo))
    if stopped:
        return 130
    if report.count == 0:
        raise DataError(f"No image of {args.lmdb_file.name} could be read; expected at least one.")
    if args.verify is not None:
        found = disagreements(report, args.verify)
        if found:
            raise DataError("The published errors were not reproduced: " + " ".join(found))
        print(f"The published errors were reproduced within {args.verify:g} percentage points.")
    return 0


def _environment(args: argparse.Namespace) -> dict[str, str]:
    """The process's environment with what the options and ``torchrun`` change."""
    environment = {**os.environ}
    environment |= {"LOWRANK_DEVICE": args.device} if args.device else {}
    environment |= {"LOWRANK_DECODER": args.decoder} if args.decoder else {}
    environment |= {"LOWRANK_ENGINE": args.engine} if args.engine else {}
    environment |= {"LOWRANK_PRECISION": args.precision} if args.precision else {}
    here = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if here > 1:
        import torch

        from ..settings import usable_cpus

        environment.setdefault("LOWRANK_THREADS", str(max(1, usable_cpus() // here)))
        by_torch = environment.get("LOWRANK_ENGINE", "torch").lower() != "openvino"
        if by_torch and torch.cuda.is_available() and environment.get("LOWRANK_DEVICE", "auto") in ("auto", "cuda"):
            environment["LOWRANK_DEVICE"] = f"cuda:{environment.get('LOCAL_RANK', '0')}"
    return environment


def _iterate(run: ValidationRun, rank: int, name: str) -> str:
    """Go through the slice, showing progress and saving now and then; says why if it did not come to the end."""
    line = ProgressLine()
    saved = time.monotonic()
    try:
        for progress in stoppable(run, {**STOPPED, signal.SIGTERM: _LOST} if name else STOPPED):
            if rank == 0:
                line.show(progress, (f", {name}" if name else "") + _running(run.results()))
            if time.monotonic() - saved > _SAVE_SECONDS:
                _save(run)
                saved = time.monotonic()
    except KeyboardInterrupt as stop:
        return str(stop)
    return ""


def _save(run: ValidationRun) -> bool:
    """Keep the state; a disk that is full ends no pass, it is only said."""
    try:
        run.save()
    except OSError as error:
        print(
            f"\nThe state of the pass could not be kept ({error.strerror}), so that a stop would lose it; free space "
            "or set LOWRANK_CACHE_DIR.",
            file=sys.stderr,
        )
        return False
    return True


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(_LOST)


def _others(mine: tuple[Sums, float]) -> list[tuple[Sums, float]]:
    """In the first process what the others counted; in the others nothing."""
    from ..runtime.processes import Processes

    # Sums are integers in memory: gloo carries them on any machine, with or without a GPU.
    with Processes.join("gloo", _PATIENCE) as processes:
        return processes.gather(mine)[1:]


def _running(results: Sequence[ModelResult]) -> str:
    """The running top-1 errors, for the progress line."""
    errors = [f"{result.top1_error:.1f}" for result in results if result.top1_error is not None]
    return f", top-1 error {' / '.join(errors)} %" if errors else ""


def _write(path: Path, text: str) -> None:
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} could not be written ({error.strerror}); choose another place.") from error
