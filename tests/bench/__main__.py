"""The program beside its limits and rivals, as ratios: ``python -m tests.bench``, or ``make bench``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lowrank_demo.errors import UsageError
from lowrank_demo.runtime.outputs import Output
from tests.bench import command

if TYPE_CHECKING:
    from tests.bench.measure import Outcome

PARTS = ("compute", "overlap", "growth", "photo", "start", "build", "resize", "memory", "lc")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts asked for; returns the exit code, 0 whether goals are reached or not, 1 for wrong options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the program side by side with its limits and rivals on this machine's processor, on real "
        "photos and random weights. Leave the machine alone meanwhile. Exit code 0, whether goals are reached or not.",
    )
    parser.add_argument("--only", metavar="PARTS", help=f"some of {','.join(PARTS)}, separated by commas")
    parser.add_argument(
        "--images", type=int, default=128, metavar="N", help="images of a nine-model pass; default: 128"
    )
    parser.add_argument("--many", type=int, default=4000, metavar="N", help="images in the memory test (4000)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures")
    return command.run(parser, _bench, argv)


def _bench(args: argparse.Namespace) -> int:
    chosen: list[str] = args.only.split(",") if args.only else [*PARTS]
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        raise UsageError(f"--only names {unknown[0]!r}; expected some of {', '.join(PARTS)}.")
    for name, value, least in (("--images", args.images, 64), ("--many", args.many, 64)):
        if value < least:
            raise UsageError(f"{name} is {value}; expected at least {least}.")
    output = Output.checked(args.json) if args.json else None
    print(machine())
    outcomes: list[Outcome] = []
    for outcome in _outcomes(chosen, args.images, args.many):
        print(outcome_text(outcome), flush=True)
        outcomes.append(outcome)
    if output:
        content = {
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "outcomes": [plain(one) for one in outcomes],
        }
        output.write(json.dumps(content, indent=1))
    return 0


def _outcomes(chosen: list[str], images: int, many: int) -> Iterator[Outcome]:
    from lowrank_demo.models.zoo import read_zoo
    from lowrank_demo.settings import Settings
    from tests.bench import data, lc, material, memory, networks, requests

    zoo = read_zoo(Settings.from_environment().zoo)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = material.jpegs(256)
        file = folder / "photos.lmdb"
        material.write_lmdb(file, photos, max(16 * images, many))
        parts = {
            "compute": lambda: networks.as_the_command(networks.compute, zoo, file, images),
            "overlap": lambda: networks.as_the_command(networks.overlap, zoo, file, images),
            "growth": lambda: networks.as_the_command(networks.growth, zoo, file, images),
            "photo": lambda: requests.one_photo(photos, 100),
            "start": requests.start,
            "build": lambda: data.build(folder, photos, 4 * images),
            "resize": lambda: data.resize(folder, material.jpegs(32, edge=640), images),
            "memory": lambda: memory.memory(zoo, file, min(1000, many // 4), many),
            "lc": lc.lc,
        }
        for part in chosen:
            if not sys.stderr.isatty():
                print(f"… {part}", file=sys.stderr, flush=True)
            yield from parts[part]()


def outcome_text(outcome: Outcome) -> str:
    """One line of the table."""
    from tests.bench.measure import Finding, Note, Result

    if isinstance(outcome, Result):
        sign = "≥" if outcome.at_least else "≤"
        verdict = "reached" if outcome.reached else "missed"
        return (
            f"{outcome.what}: {outcome.measured:,.3g} {outcome.unit}; {outcome.limit}: {outcome.against:,.3g} "
            f"{outcome.unit}; ratio {outcome.ratio:.2f} (goal {sign} {outcome.goal:g}, {verdict})"
        )
    if isinstance(outcome, Finding):
        return f"{outcome.what}: {outcome.value:,.4g} {outcome.unit}"
    if isinstance(outcome, Note):
        return f"{outcome.what}: {outcome.text}"
    return f"{outcome.what}: not measured ({outcome.why})"


def plain(outcome: Outcome) -> dict[str, object]:
    """Return an outcome for programs."""
    from tests.bench.measure import Result

    derived = {"ratio": outcome.ratio, "reached": outcome.reached} if isinstance(outcome, Result) else {}
    return dataclasses.asdict(outcome) | derived


def machine() -> str:
    """Return a line about processor, libraries and GPU."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU: the processor is measured"
    return (
        f"{platform.machine()}, {os.cpu_count()} processors ({torch.backends.cpu.get_cpu_capability()}), "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}, {gpu}"
    )


if __name__ == "__main__":
    sys.exit(main())
