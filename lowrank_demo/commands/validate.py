"""``validate``: measure models on an LMDB file and compare their errors with the published ones."""

from __future__ import annotations

import argparse
import datetime
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, LowRankError, NotWritten, SettingError, UsageError
from ..runtime.files import must_exist
from ..runtime.progress import ProgressLine
from ..runtime.stopping import STOPPED, stoppable, undisturbed
from .validation_reports import Reports
from .validation_settings import as_typed, settings_of

if TYPE_CHECKING:
    from types import FrameType

    from ..models.cards import ModelCard
    from ..models.zoo import Zoo
    from ..serve.service import Service
    from ..validate.report import ModelResult, Report
    from ..validate.run import ValidationRun

_SAVE_SECONDS = 20.0
_TOLERANCE = 0.3
"""Percentage points."""
_GATHER_TIMEOUT = datetime.timedelta(days=2)
"""Slices may take unequal time. A process that dies is noticed at once, because its connection closes."""
_LOST = "stopped, because another process of this run ended early or all were told to stop"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    validate = commands.add_parser(
        "validate",
        help="measure errors on an LMDB file",
        description="Measure the top-1 error, top-5 error and loss of any number of models in one pass over an LMDB "
        "file. Ctrl-C stops the pass and prints the results so far; --resume continues it. Exit codes: 0 "
        "success; 1 wrong usage, or a named file is missing or cannot be written; 2 bad data, a full disk, too little "
        "memory, a lost process, or --verify failed; 3 weights not available.",
    )
    validate.add_argument(
        "--lmdb-file", type=Path, required=True, metavar="F", help="built by build-lmdb or tensorpack"
    )
    validate.add_argument(
        "--models",
        metavar="LIST",
        help="ids separated by commas, 'published' or 'all'; default: all models whose weights are here",
    )
    validate.add_argument("--batch-size", type=int, default=64, metavar="N", help="default: 64")
    validate.add_argument("--device", help="auto, cpu, cuda or cuda:N; default: LOWRANK_DEVICE")
    validate.add_argument("--decoder", help="auto, dali-gpu, dali-cpu or pillow; default: LOWRANK_DECODER")
    validate.add_argument("--engine", help="torch or openvino; default: LOWRANK_ENGINE")
    validate.add_argument(
        "--precision",
        help="fp32 or bf16, which is faster only where the hardware multiplies it (AMX, AVX-512 BF16, tensor cores); "
        "default: LOWRANK_PRECISION",
    )
    validate.add_argument("--json", type=Path, metavar="OUT", help="write the full report; - for standard output")
    validate.add_argument("--html", type=Path, metavar="OUT", help="write the report as a self-contained page")
    validate.add_argument("--csv", type=Path, metavar="OUT", help="write a table with one line for each model")
    validate.add_argument("--resume", action="store_true", help="continue where the same command was stopped")
    validate.add_argument(
        "--check-file", action="store_true", help="first check the file against the SHA-256 in its manifest"
    )
    validate.add_argument(
        "--verify",
        nargs="?",
        type=float,
        const=_TOLERANCE,
        metavar="POINTS",
        help="fail if a measured error differs from the published one by more than this "
        f"(default: {_TOLERANCE} percentage points)",
    )
    validate.set_defaults(command=_validate)


def _validate(args: argparse.Namespace) -> int:
    try:
        return _measure(args)
    except SettingError as error:
        raise as_typed(error, args) from None


def _measure(args: argparse.Namespace) -> int:
    from ..models.transfer import print_download
    from ..runtime.allocator import keep_freed_memory
    from ..runtime.launch import Place
    from ..serve.service import Service

    keep_freed_memory()
    place = Place.from_environment()
    _check_options(args)
    # Only the first process writes reports; other machines may not even have the folder.
    reports = Reports.checked(args.lmdb_file, args.json, args.csv, args.html) if place.rank == 0 else None
    service = Service(settings_of(args, place))
    service.machine.check_arithmetic()
    cards = _chosen(service, args.models)
    if args.verify is not None and not any(card.published for card in cards):
        raise UsageError("--verify compares with published errors, and none of these models was published.")
    from ..data.lmdb.manifest import verify
    from ..runtime.processes import Processes

    name = f"slice {place.rank + 1} of {place.world}" if place.world > 1 else ""
    if name:
        # When one process is lost, torchrun sends this signal to the others, even while they are still loading.
        signal.signal(signal.SIGTERM, _terminate)
    lanes = service.machine.lanes()
    # The sums are integers in the CPU's memory, so gloo can exchange them on any machine, with or without a GPU.
    # Join before any work, so that a process says at once if the others were never started.
    with ExitStack() as opened:
        processes = opened.enter_context(Processes.join(place, "gloo", _GATHER_TIMEOUT))
        if args.check_file and place.local_rank == 0:
            verify(args.lmdb_file)
        run = opened.enter_context(
            service.open_validation(
                args.lmdb_file,
                cards,
                batch_size=args.batch_size,
                resume=args.resume,
                on_progress=print_download,
                part=(place.rank, place.world),
                lanes=lanes.count,
            )
        )
        opened.enter_context(lanes.computing())
        if args.resume:
            at = "no saved pass of these models; starting at the beginning"
            found = at if run.resumed_at is None else f"continuing from record {run.resumed_at:,}"
            print(f"{name + ': ' if name else ''}{found}", file=sys.stderr)
        stopped = _run(run, place.rank, name)
        if stopped:
            saved = _save(run)
            if place.rank == 0:
                print(f"\n{stopped}{'; --resume continues from here' if saved else ''}.", file=sys.stderr)
        elif place.world > 1:
            # Keep the state until the reports are written: if another process is lost, this one's work is not.
            _save(run)
            for sums, rate in processes.gather((run.validation.sums, run.validation.rate))[1:]:
                run.merge(sums, rate)
        report = run.report()
        if reports and not (stopped and place.world > 1):
            _deliver(report, reports, service.zoo, run, kept=bool(stopped) or place.world > 1)
        if stopped:
            return 130
        # The other processes keep their states until the first one has written the reports.
        processes.barrier()
        run.checkpoint.remove()
    if not reports:
        return 0
    if report.count == 0:
        raise DataError(f"No image of {args.lmdb_file.name} could be read; expected at least one.")
    if args.verify is not None:
        _compare_with_published(report, args.verify)
    return 0


def _chosen(service: Service, text: str | None) -> list[ModelCard]:
    """Return the cards that ``--models`` names; those that are ready if it is missing.

    Raises:
        UnknownModel: An id is not known.
        UsageError: The list is empty.
    """
    if text is None:
        chosen = service.ready_models()
    elif text == "all":
        chosen = list(service.zoo)
    elif text == "published":
        chosen = [card for card in service.zoo if card.published]
    else:
        chosen = [service.zoo.get(name.strip()) for name in text.split(",") if name.strip()]
    if not chosen:
        raise UsageError("There is no model to validate; expected ids separated by commas, 'published' or 'all'.")
    return list(dict.fromkeys(chosen))


def _check_options(args: argparse.Namespace) -> None:
    if not 1 <= args.batch_size <= 4096:
        raise UsageError(f"The batch size is {args.batch_size}; expected 1 to 4096.")
    must_exist(args.lmdb_file, "an LMDB file made by build-lmdb")


def _run(run: ValidationRun, rank: int, name: str) -> str:
    """Process the slice, showing progress and saving the state now and then.

    Returns:
        Why the pass was stopped; empty if it is complete.
    """
    line = ProgressLine()
    saved = time.monotonic()
    try:
        for progress in stoppable(run, {**STOPPED, signal.SIGTERM: _LOST} if name else STOPPED):
            if rank == 0:
                line.show(progress, (f", {name}" if name else "") + _running_errors(run.results()))
            if time.monotonic() - saved > _SAVE_SECONDS:
                _save(run)
                saved = time.monotonic()
    except KeyboardInterrupt as stop:
        return str(stop)
    except LowRankError:
        _save(run)
        raise
    return ""


def _save(run: ValidationRun) -> bool:
    """Save the state of the pass; return whether that worked. A full disk does not end the pass."""
    try:
        with undisturbed():
            run.checkpoint.save(run.validation.sums)
    except OSError as error:
        print(
            f"\nThe state of the pass could not be saved ({error.strerror}), so stopping would lose it; free space or "
            "set LOWRANK_CACHE_DIR.",
            file=sys.stderr,
        )
        return False
    return True


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(_LOST)


def _running_errors(results: Sequence[ModelResult]) -> str:
    """Return the top-1 errors so far, for the progress line."""
    errors = [f"{result.top1_error:.1f}" for result in results if result.top1_error is not None]
    return f", top-1 error {' / '.join(errors)} %" if errors else ""


def _deliver(report: Report, reports: Reports, zoo: Zoo, run: ValidationRun, *, kept: bool) -> None:
    """Write the reports, then print the table. Whatever goes wrong, the state of the pass is on the disk.

    Args:
        report: What was measured.
        reports: Where it goes.
        zoo: The models.
        run: The pass.
        kept: Whether its state was saved since the last batch.

    Raises:
        NotWritten: A report could not be written.
    """
    from ..validate.report import report_text

    try:
        failures = reports.write(report, zoo)
        print(report_text(report), file=reports.table_stream(), flush=True)
        if failures:
            raise NotWritten(" ".join(failures))
    except BaseException as error:
        kept = kept or _save(run)
        if isinstance(error, NotWritten) and kept:
            raise NotWritten(
                f"{error} What was measured is kept: run the same command with --resume and a place that can be "
                "written; nothing is measured again."
            ) from error
        raise


def _compare_with_published(report: Report, tolerance: float) -> None:
    from ..validate.report import disagreements

    found = disagreements(report, tolerance)
    if found:
        raise DataError("The published errors were not reproduced: " + " ".join(found))
    print(f"The published errors were reproduced within {tolerance} percentage points.")
