"""Pack DALI for a machine without a network, in parts: ``python -m tests.bench.pack WHEEL FOLDER``.

DALI's wheel holds the same device code for seven kinds of GPU. This tool keeps the code of one, blanks the rest, which
then compresses to nothing, and leaves out headers and other versions of Python: 500 MB become about 80. ``join.sh``,
which it writes beside the parts, puts them together again.
"""

from __future__ import annotations

import argparse
import collections
import lzma
import os
import struct
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lowrank_demo.errors import UsageError
from lowrank_demo.runtime.files import must_exist
from lowrank_demo.runtime.outputs import check_folder
from tests.bench import command

_FAT_BINARY = struct.Struct("<IHHQ")
_MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, _FAT_BINARY.size)
"""How a fat binary begins: magic number, version, size of its header."""
_ENTRY = struct.Struct("<HHIQIIII")
"""Kind, version, size of the header, size of the code, three numbers, architecture (90 for sm_90)."""
_MACHINE_CODE = 2
_LEFT_OUT = ("/include/", "/test/", "-38-", "-39-", "-310-", "-311-", "-313-", "-314-", "-313t-", "-314t-", "-315")
_JOIN = """#!/bin/sh
# Unpacks DALI into the folder given; PYTHONPATH must then name it.
set -e
mkdir -p "$1"
cat "$(dirname "$0")"/dali.part.* | xz -d | tar -x -C "$1"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the parts; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pack", description=__doc__)
    parser.add_argument("wheel", type=Path, help="DALI's wheel, from pip download --no-deps")
    parser.add_argument("folder", type=Path, help="for the parts")
    parser.add_argument("--architecture", type=int, default=90, metavar="N", help="default: 90, for H100 and H200")
    parser.add_argument("--megabytes", type=int, default=35, metavar="N", help="of each part; default: 35")
    return command.run(parser, _pack, argv)


def _pack(args: argparse.Namespace) -> int:
    must_exist(args.wheel, "DALI's wheel, from pip download --no-deps")
    if not zipfile.is_zipfile(args.wheel):
        raise UsageError(f"{args.wheel} is not a wheel; expected DALI's, from pip download --no-deps.")
    if args.megabytes < 1:
        raise UsageError(f"--megabytes is {args.megabytes}; expected at least 1.")
    check_folder(args.folder, args.folder)
    work = args.folder / "work"
    with zipfile.ZipFile(args.wheel) as wheel:
        names = [name for name in wheel.namelist() if not any(text in name for text in _LEFT_OUT)]
        wheel.extractall(work, names)
    for library in (path for path in work.rglob("*") if ".so" in path.name):
        data = bytearray(library.read_bytes())
        print(f"{library.name}: {_keep_only(data, args.architecture)}", flush=True)
        library.write_bytes(data)
    archive = args.folder / "dali.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(work.iterdir()):
            tar.add(path, path.name)
    packed = _compressed(archive.read_bytes())
    archive.unlink()
    size = args.megabytes * 1_000_000
    for number, start in enumerate(range(0, len(packed), size)):
        (args.folder / f"dali.part.{number}").write_bytes(packed[start : start + size])
    (args.folder / "join.sh").write_text(_JOIN)
    print(f"{len(packed) / 1e6:.1f} MB")
    return 0


def _keep_only(data: bytearray, architecture: int) -> str:
    """Blank the device code of other architectures in a library's bytes; return what was kept and blanked."""
    sizes: collections.Counter[str] = collections.Counter()
    at = data.find(_MAGIC)
    while at >= 0:
        size = _FAT_BINARY.unpack_from(data, at)[3]
        entry, end = at + _FAT_BINARY.size, at + _FAT_BINARY.size + size
        while entry < end:
            kind, _, header, length, *_, found = _ENTRY.unpack_from(data, entry)
            kept = kind == _MACHINE_CODE and found == architecture
            if not kept:
                data[entry + header : entry + header + length] = bytes(length)
            sizes["kept" if kept else "blanked"] += length
            entry += header + length
        at = data.find(_MAGIC, end)
    return ", ".join(f"{size / 1e6:.1f} MB {name}" for name, size in sizes.items()) or "no device code"


def _compressed(data: bytes) -> bytes:
    """Compress with all processors; xz files one after another are one xz file."""
    block = 64_000_000
    parts = [data[start : start + block] for start in range(0, len(data), block)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return b"".join(pool.map(lzma.compress, parts))


if __name__ == "__main__":
    sys.exit(main())
