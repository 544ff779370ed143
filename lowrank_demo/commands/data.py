"""``resize``, ``build-lmdb``, ``classes``: from a folder of images to the file that ``validate`` and ``train`` read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..runtime.progress import ProgressLine
from ..runtime.stopping import stoppable
from ..runtime.words import counted, printable

if TYPE_CHECKING:
    from ..data.walk import Refused

_MAX_SHOWN = 20
"""Largest number of left-out images and folders to list one by one."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    resize = commands.add_parser(
        "resize",
        help="resize images to a shortest edge of 256 pixels",
        description="Resize every image in FOLDER to a shortest edge of 256 pixels, as ImageMagick's -resize 256x256^ "
        "does. JPEGs keep their quality, chroma sampling, EXIF data and colour profile. A second run skips the images "
        "that were made from the same originals with the same options.",
    )
    resize.add_argument("folder", type=Path, metavar="FOLDER", help="folder with images, searched with its subfolders")
    output = resize.add_mutually_exclusive_group(required=True)
    output.add_argument(
        "--to", type=Path, metavar="FOLDER", help="folder for the resized images, which keep their names"
    )
    output.add_argument("--in-place", action="store_true", help="replace the original images")
    resize.add_argument("--shortest-edge", type=int, default=256, metavar="PIXELS", help="default: 256")
    _add_quality(resize)
    resize.set_defaults(command=_resize)

    build = commands.add_parser(
        "build-lmdb",
        help="build an LMDB file of labelled images",
        description="Build an LMDB file in the format of tensorpack's LMDBSerializer, and a manifest beside it. Images "
        "that are cut off or cannot be decoded are left out. Changed bits inside a JPEG's coded data are not found: a "
        "JPEG has no checksum.",
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
    _add_quality(build)
    build.add_argument(
        "--decode-all",
        action="store_true",
        help="decode every image to check it; otherwise a baseline JPEG is stored if its markers and tables are whole",
    )
    build.add_argument("--overwrite", action="store_true", help="replace an existing file")
    build.set_defaults(command=_build)

    names = commands.add_parser(
        "classes",
        help="list ImageNet's 1000 classes and their names",
        description="List ImageNet's 1000 classes: the index, the synset id and the names that folders and labels may "
        "have, in any case and with blanks, hyphens or underscores.",
    )
    names.add_argument("word", nargs="?", default="", metavar="WORD", help="only classes with this in a name")
    names.set_defaults(command=_classes)


def _add_quality(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--quality", type=int, metavar="Q", help="quality of resized JPEGs, 1 to 100; default: that of the original"
    )


def _resize(args: argparse.Namespace) -> int:
    from ..data.resize import FolderResize
    from ..settings import Settings

    if not 1 <= args.shortest_edge <= 65_000:
        raise UsageError(f"The shortest edge is {args.shortest_edge}; expected 1 to 65000 pixels.")
    _check_quality(args.quality)
    threads = Settings.from_environment().threads
    resize = FolderResize(args.folder, args.to, edge=args.shortest_edge, quality=args.quality, threads=threads)
    line = ProgressLine()
    for progress in stoppable(resize):
        line.show(progress)
    refused = sum(item.images for item in resize.refused)
    print(f"{counted(resize.resized, 'image')} resized, {resize.skipped:,} already done, {refused:,} refused.")
    _list_refused(resize.refused)
    return 2 if resize.refused else 0


def _build(args: argparse.Namespace) -> int:
    from ..data.build import LmdbBuild
    from ..data.labels_file import listed_samples
    from ..data.lmdb.manifest import read_manifest
    from ..data.lmdb.record import UNLABELLED
    from ..data.samples import class_folder_samples, imagenet_samples, unlabelled_samples
    from ..settings import Settings

    if args.unlabelled and (args.labels or not args.images):
        raise UsageError("--unlabelled goes with --images alone; leave out the other option.")
    if args.split and not args.imagenet_folder:
        raise UsageError(
            f"--{args.split} goes with --imagenet-folder; use that in place of --images, or leave out --{args.split}."
        )
    if args.imagenet_folder and args.labels:
        raise UsageError(
            "--labels goes with --images: --imagenet-folder takes the labels from ImageNet's layout. Use one of them."
        )
    if args.quality is not None and args.shortest_edge is None:
        raise UsageError(
            "--quality goes with --shortest-edge, without which images are stored unchanged; add --shortest-edge."
        )
    _check_quality(args.quality)
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
        quality=args.quality,
        decode_all=args.decode_all,
        threads=Settings.from_environment().threads,
        overwrite=args.overwrite,
    )
    _list_refused(samples.refused)
    line = ProgressLine()
    for progress in stoppable(build):
        line.show(progress)
    manifest = read_manifest(args.lmdb_file.resolve())
    labels = len(manifest.classes.keys() - {str(UNLABELLED)})
    print(
        f"{args.lmdb_file}: {counted(manifest.count, 'image')} of {counted(labels, 'class')}, "
        f"{manifest.bytes / 1e6:,.1f} MB, SHA-256 {manifest.sha256[:16]}…; {manifest.refused:,} refused."
    )
    _list_refused(build.refused[len(samples.refused) :])
    return 2 if build.refused else 0


def _classes(args: argparse.Namespace) -> int:
    from ..data.imagenet import find_classes
    from ..runtime.schema import shown

    found = find_classes(args.word)
    if not found:
        raise UsageError(f"No class has {shown(args.word)} in a name; expected a part of a name, such as lion.")
    for label in found:
        print(f"{label.index:>3}  {label.synset}  {'; '.join(label.names)}")
    return 0


def _check_quality(quality: int | None) -> None:
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"The quality is {quality}; expected 1 to 100.")


def _list_refused(refused: Sequence[Refused]) -> None:
    """List what was left out on standard error."""
    for item in refused[:_MAX_SHOWN]:
        number = f" ({counted(item.images, 'image')})" if item.images > 1 else ""
        print(f"refused: {printable(item.path)}{number}: {item.reason}", file=sys.stderr)
    if len(refused) > _MAX_SHOWN:
        print(f"refused: {len(refused) - _MAX_SHOWN:,} more", file=sys.stderr)
