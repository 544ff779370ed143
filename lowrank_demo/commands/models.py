"""``models``, ``classify``, ``convert`` and ``export``: list models, use them, write them in other formats."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.files import must_exist
from ..runtime.outputs import output_file
from ..runtime.words import printable

if TYPE_CHECKING:
    from ..models.cards import ModelCard
    from ..models.store import LocalFile


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    models = commands.add_parser("models", help="list all models: ranks, cost, published errors, where the weights are")
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(command=_models)

    classify = commands.add_parser("classify", help="classify photos")
    classify.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="photo file")
    classify.add_argument(
        "--model", metavar="ID", help="family/scheme/version; default: the most compressed one available"
    )
    classify.add_argument("--json", action="store_true", help="print JSON")
    classify.set_defaults(command=_classify)

    convert = commands.add_parser(
        "convert", help="write a model's weights as safetensors, with configuration and model card"
    )
    convert.add_argument("--to", required=True, type=Path, metavar="FOLDER", help="a new folder")
    convert.set_defaults(command=_convert)
    export = commands.add_parser("export", help="write a model as an ONNX file, checked with ONNX Runtime")
    export.add_argument("--to", required=True, type=Path, metavar="FILE", help="the .onnx file")
    export.set_defaults(command=_export)
    for command in (convert, export):
        command.add_argument("model", metavar="ID", help="family/scheme/version")
        command.add_argument(
            "--file", type=Path, help="the weight file (.th); default: the bundled or cached one, else a download"
        )


def _models(args: argparse.Namespace) -> int:
    from ..serve.payloads import model_json
    from ..serve.service import Service
    from ..settings import Settings

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
    from ..errors import ImageError
    from ..models.transfer import print_download
    from ..serve.answers import Photo
    from ..serve.payloads import predictions_json
    from ..serve.service import Service
    from ..settings import Settings

    for path in args.images:
        must_exist(path, "a photo")
    service = Service(Settings.from_environment())
    card = service.zoo.get(args.model) if args.model else service.default_model()
    photos = [Photo.from_file(path, str(path)) for path in args.images]
    limit = service.settings.max_photos
    failed = False
    answers: list[dict[str, object]] = []
    for start in range(0, len(photos), limit):
        part = photos[start : start + limit]
        predictions = service.classify(part, card, print_download)
        failed |= any(isinstance(answer, ImageError) for answer in predictions)
        if args.json:
            answers += predictions_json(part, predictions)
            continue
        for photo, answer in zip(part, predictions, strict=True):
            if isinstance(answer, ImageError):
                print(f"{printable(photo.name)}: {answer}", file=sys.stderr)
                continue
            print(f"{printable(photo.name)}  ({card.id}, {answer.decoder}, {answer.device})")
            for guess in answer.top:
                print(f"  {guess.probability:6.1%}  {guess.label.name}  [{guess.label.synset}]")
    if args.json:
        print(json.dumps({"model": card.id, "photos": answers}, indent=1))
    return 2 if failed else 0


def _convert(args: argparse.Namespace) -> int:
    from ..publish.hub import write_hub_folder

    card, file = _weights(args)
    write_hub_folder(card, file, args.to)
    print(f"{args.to}: {card.id}, to load with LowRankAlexNet.from_pretrained")
    return 0


def _export(args: argparse.Namespace) -> int:
    from ..lowrank.load import load_network
    from ..publish.onnx import export_onnx

    card, file = _weights(args)
    target = output_file(args.to)
    difference = export_onnx(card, load_network(card, file), target)
    print(f"{args.to}: {card.id}, {args.to.stat().st_size / 1e6:.1f} MB; logits differ by {difference:.1e} at most")
    return 0


def _weights(args: argparse.Namespace) -> tuple[ModelCard, LocalFile]:
    """Return the card that the options name, and its weight file."""
    from ..models.store import LocalFile, WeightStore
    from ..models.transfer import print_download
    from ..settings import Settings

    if args.file:
        must_exist(args.file, "a weight file")
    store = WeightStore.from_settings(Settings.from_environment())
    card = store.zoo.get(args.model)
    if args.file:
        return card, LocalFile(args.file, card.weights.sha256, card.weights.format, store.statistics(card))
    return card, store.ensure(card, print_download)
