"""``python -m lowrank_demo``: the command line. Heavy imports happen in the commands that need them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LowRankError

if TYPE_CHECKING:
    from .download import DownloadProgress


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 usage, 2 bad data, 3 weights missing."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        # argparse exits with 2 for a wrong option, which here means bad data.
        return 1 if stop.code else 0
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except LowRankError as error:
        print(f"lowrank_demo: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("\nlowrank_demo: stopped.", file=sys.stderr)
        return 130


def print_download(progress: DownloadProgress) -> None:
    """Show a download on one line of standard error."""
    total = f" of {progress.bytes_total / 1e6:.1f}" if progress.bytes_total else ""
    left = progress.seconds_left
    ends = "\n" if progress.bytes_done == progress.bytes_total else ""
    print(
        f"\rdownloading: {progress.bytes_done / 1e6:.1f}{total} MB, {progress.bytes_per_second / 1e6:.1f} MB/s"
        + (f", {left:.0f} s left " if left is not None else "")
        + ends,
        end="",
        file=sys.stderr,
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lowrank_demo", description="Low-rank AlexNet models (CVPR 2020): list, classify."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="list every model: ranks, cost, published figures, weights")
    models.add_argument("--json", action="store_true", help="as JSON")
    models.set_defaults(command=_models)

    classify = commands.add_parser("classify", help="classify photos")
    classify.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="photo files")
    classify.add_argument("--model", metavar="ID", help="family/scheme/version; default: the best one that is here")
    classify.add_argument("--json", action="store_true", help="as JSON")
    classify.set_defaults(command=_classify)
    return parser


def _models(args: argparse.Namespace) -> int:
    from .answers import model_json
    from .service import Service
    from .settings import Settings

    service = Service(Settings.from_environment())
    statuses = service.models()
    if args.json:
        print(json.dumps([model_json(status) for status in statuses], indent=1))
        return 0
    print(
        f"{'id':22} {'ranks':38} {'MMACs':>7} {'params':>7}  {'λ':8} {'MFLOPs':>6} {'top-1':>6} {'top-5':>6}  weights"
    )
    for status in statuses:
        card, errors = status.card, status.card.published
        published = (
            f"{card.published_mflops:6.0f} {errors.top1:6.2f} {errors.top5:6.2f}" if errors else f"{'–':>6} " * 3
        ).rstrip()
        print(
            f"{card.id:22} {' '.join(map(str, card.ranks)):38} {card.cost.macs / 1e6:7.2f} "
            f"{card.cost.params / 1e6:6.2f}M  {card.lambda_text:8} {published}  {status.where}"
        )
    print("MMACs and params computed from the ranks; MFLOPs, top-1 and top-5 error (%) as published for ImageNet.")
    return 0


def _classify(args: argparse.Namespace) -> int:
    from .answers import predictions_json
    from .errors import ImageError
    from .service import Photo, Service
    from .settings import Settings

    service = Service(Settings.from_environment())
    model = args.model or service.default_model().id
    photos = [Photo(str(path), path.read_bytes) for path in args.images]
    limit = service.settings.max_photos
    failed = False
    answers: list[dict[str, object]] = []
    for start in range(0, len(photos), limit):
        part = photos[start : start + limit]
        predictions = service.classify(part, model, print_download)
        failed |= any(isinstance(answer, ImageError) for answer in predictions)
        if args.json:
            answers += predictions_json(part, predictions)
            continue
        for photo, answer in zip(part, predictions, strict=True):
            if isinstance(answer, ImageError):
                print(f"{photo.name}: {answer}", file=sys.stderr)
                continue
            print(f"{photo.name}  ({service.zoo.get(model).id}, {answer.decoder}, {answer.device})")
            for guess in answer.top:
                print(f"  {guess.probability:6.1%}  {guess.label.name}  [{guess.label.synset}]")
    if args.json:
        print(json.dumps({"model": service.zoo.get(model).id, "photos": answers}, indent=1))
    return 2 if failed else 0
