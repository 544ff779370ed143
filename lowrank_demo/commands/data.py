"""``resize`` and ``build-lmdb``: turn a folder of images into the file that ``validate`` and ``train`` read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..runtime.progress import ProgressLine
from ..runtime.stopping import stoppable
from ..runtime.words import counted

if TYPE_CHECKING:
    from ..data.resize import Refused

_MAX_SHOWN = 20
"""Refused images that are listed one by one."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    resize = commands.add_parser(
        "resize",
        help="resize images to a shortest edge of 256 pixels",
        description="Resize every image in FOLDER to a shortest edge of 256 pixels, as ImageMagick's -resize 256x256^ "
        "does. JPEGs are written at quality 92 and keep their chroma sampling, EXIF data and colour profile. A second "
        "run skips the images that are done.",
    )
    resize.add_argument("folder", type=Path, metavar="FOLDER", help="folder with images, searched with its subfolders")
    output = resize.add_mutually_exclusive_group(required=True)
    output.add_argument(
        "--to", type=Path, metavar="FOLDER", help="folder for the resized images, which keep their names"
    )
    output.add_argument("--in-place", action="store_true", help="replace the original images")
    resize.add_argument("--shortest-edge", type=int, default=256, metavar="PIXELS", help="default: 256")
    resize.set_defaults(command=_resize)

    build = commands.add_parser(
        "build-lmdb",
        help="build an LMDB file of labelled images",
        description="Build an LMDB file in the format of tensorpack's LMDBSerializer, and a manifest beside it.",
    )
    source = build.add_mutually_exclusive_group(required=True)
    source.add_argument("--imagenet-folder", type=Path, metavar="FOLDER", help="ImageNet, with --val or --train")
    source.add_argument(
        "--images", type=Path, metavar="FOLDER", help="images in class-named folders, or listed by --labels"
    )
    split = build.add_mutually_exclusive_group()
    split.add_argument("--val", dest="split", action="store_const", const="val", help="ImageNet's validation images")
    split.add_argument("--train", dest="split", action="store_const", const="train", help="ImageNet's training images")
    build.add_argument(
        "--labels", type=Path, metavar="FILE", help="lines of 'image class', with paths relative to --images"
    )
    build.add_argument(
        "--unlabelled", action="store_true", help="store --images without labels, for training with a teacher"
    )
    build.add_argument("--lmdb-file", type=Path, required=True, metavar="OUT", help="the file to build")
    build.add_argument("--shortest-edge", type=int, metavar="PIXELS", help="resize the images; 256 is usual")
    build.add_argument("--overwrite", action="store_true", help="replace an existing file")
    build.set_defaults(command=_build)


def _resize(args: argparse.Namespace) -> int:
    from ..data.resize import FolderResize
    from ..settings import Settings

    if not 1 <= args.shortest_edge <= 65_000:
        raise UsageError(f"The shortest edge is {args.shortest_edge}; expected 1 to 65000 pixels.")
    target = args.folder if args.in_place else args.to
    threads = Settings.from_environment().threads
    resize = FolderResize(args.folder, target, edge=args.shortest_edge, threads=threads)
    line = ProgressLine()
    for progress in stoppable(resize):
        line.show(progress)
    resized = len(resize.files) - resize.skipped - len(resize.refused)
    print(f"{counted(resized, 'image')} resized, {resize.skipped:,} already done, {len(resize.refused):,} refused.")
    return _report_refused(resize.refused)


def _build(args: argparse.Namespace) -> int:
    from ..data.build import LmdbBuild
    from ..data.lmdb.manifest import read_manifest
    from ..data.lmdb.record import UNLABELLED
    from ..data.samples import class_folder_samples, imagenet_samples, listed_samples, unlabelled_samples
    from ..settings import Settings

    if args.unlabelled and (args.labels or not args.images):
        raise UsageError("--unlabelled goes with --images alone; leave out the other option.")
    if args.unlabelled:
        samples = unlabelled_samples(args.images)
    elif args.imagenet_folder:
        if not args.split:
            raise UsageError("--imagenet-folder needs --val or --train; add one of them.")
        samples = imagenet_samples(args.imagenet_folder, args.split)
    elif args.labels:
        samples = listed_samples(args.images, args.labels)
    else:
        samples = class_folder_samples(args.images)
    build = LmdbBuild(
        samples,
        args.lmdb_file,
        shortest_edge=args.shortest_edge,
        threads=Settings.from_environment().threads,
        overwrite=args.overwrite,
    )
    line = ProgressLine()
    for progress in stoppable(build):
        line.show(progress)
    manifest = read_manifest(args.lmdb_file.resolve())
    labels = len(manifest.classes.keys() - {str(UNLABELLED)})
    print(
        f"{args.lmdb_file}: {counted(manifest.count, 'image')} of {counted(labels, 'class')}, "
        f"{manifest.bytes / 1e6:,.1f} MB, SHA-256 {manifest.sha256[:16]}…; {manifest.refused:,} refused."
    )
    return _report_refused(build.refused)


def _report_refused(refused: Sequence[Refused]) -> int:
    """List the images that were left out on standard error; return the exit code."""
    for item in refused[:_MAX_SHOWN]:
        print(f"refused: {item.path}: {item.reason}", file=sys.stderr)
    if len(refused) > _MAX_SHOWN:
        print(f"refused: {len(refused) - _MAX_SHOWN} more", file=sys.stderr)
    return 2 if refused else 0
