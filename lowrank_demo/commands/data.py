"""``resize`` and ``build-lmdb``: from a folder of images to the file that ``validate`` reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..runtime.progress import ProgressLine
from ..runtime.stopping import stoppable

if TYPE_CHECKING:
    from ..data.resize import Refused

_SHOWN = 20


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    resize = commands.add_parser(
        "resize",
        help="bring images to shortest edge 256",
        description="Bring every image below FOLDER to shortest edge 256, as ImageMagick's -resize 256x256^ does. "
        "JPEGs are written at quality 92 with their chroma sampling, EXIF and colour profile. A second run skips what "
        "is done.",
    )
    resize.add_argument("folder", type=Path, metavar="FOLDER", help="images, searched with subfolders")
    place = resize.add_mutually_exclusive_group(required=True)
    place.add_argument("--to", type=Path, metavar="FOLDER", help="where the resized images go, under the same names")
    place.add_argument("--in-place", action="store_true", help="replace the images themselves")
    resize.add_argument("--shortest-edge", type=int, default=256, metavar="PIXELS", help="default: 256")
    resize.set_defaults(command=_resize)

    build = commands.add_parser(
        "build-lmdb",
        help="build an LMDB file of labelled images",
        description="Build an LMDB file in the format of tensorpack's LMDBSerializer, with a manifest beside it.",
    )
    source = build.add_mutually_exclusive_group(required=True)
    source.add_argument("--imagenet-folder", type=Path, metavar="FOLDER", help="ImageNet, with --val or --train")
    source.add_argument("--images", type=Path, metavar="FOLDER", help="class-named folders, or images for --labels")
    split = build.add_mutually_exclusive_group()
    split.add_argument("--val", dest="split", action="store_const", const="val", help="ImageNet's validation images")
    split.add_argument("--train", dest="split", action="store_const", const="train", help="ImageNet's training images")
    build.add_argument("--labels", type=Path, metavar="FILE", help="lines of 'image class', the image below --images")
    build.add_argument("--lmdb-file", type=Path, required=True, metavar="OUT", help="the file to build, named as typed")
    build.add_argument("--shortest-edge", type=int, metavar="PIXELS", help="resize on the way; 256 is usual")
    build.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    build.set_defaults(command=_build)


def _resize(args: argparse.Namespace) -> int:
    from ..data.resize import Resizing
    from ..settings import Settings

    if not 1 <= args.shortest_edge <= 65_000:
        raise UsageError(f"The shortest edge is {args.shortest_edge}; expected 1 to 65000 pixels.")
    target = args.folder if args.in_place else args.to
    threads = Settings.from_environment().threads
    resizing = Resizing(args.folder, target, edge=args.shortest_edge, threads=threads)
    line = ProgressLine()
    for progress in stoppable(resizing):
        line.show(progress)
    resized = len(resizing.files) - resizing.skipped - len(resizing.refused)
    print(f"{resized:,} images resized, {resizing.skipped:,} had been done, {len(resizing.refused):,} refused.")
    return _refused(resizing.refused)


def _build(args: argparse.Namespace) -> int:
    from ..data.build import Building
    from ..data.lmdb.manifest import read_manifest
    from ..data.samples import class_folder_samples, imagenet_samples, listed_samples
    from ..settings import Settings

    if args.imagenet_folder:
        if not args.split:
            raise UsageError("--imagenet-folder came alone; expected --val or --train with it.")
        samples = imagenet_samples(args.imagenet_folder, args.split)
    elif args.labels:
        samples = listed_samples(args.images, args.labels)
    else:
        samples = class_folder_samples(args.images)
    building = Building(
        samples,
        args.lmdb_file,
        shortest_edge=args.shortest_edge,
        threads=Settings.from_environment().threads,
        overwrite=args.overwrite,
    )
    line = ProgressLine()
    for progress in stoppable(building):
        line.show(progress)
    manifest = read_manifest(args.lmdb_file)
    print(
        f"{args.lmdb_file}: {manifest.count:,} images of {len(manifest.classes):,} classes, "
        f"{manifest.bytes / 1e6:,.1f} MB, SHA-256 {manifest.sha256[:16]}…; {manifest.refused:,} refused."
    )
    return _refused(building.refused)


def _refused(refused: Sequence[Refused]) -> int:
    """List what was left out; the exit code says whether anything was."""
    for item in refused[:_SHOWN]:
        print(f"refused: {item.path}: {item.reason}", file=sys.stderr)
    if len(refused) > _SHOWN:
        print(f"refused: {len(refused) - _SHOWN} more", file=sys.stderr)
    return 2 if refused else 0
