"""Validation shared out over processes that ``torchrun`` starts: the same integers as one process, or a clear end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.data.lmdb.writer import LmdbWriter
from lowrank_demo.validate.evaluate import slice_of
from tests.helpers.commands import run, run_module
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.paths import ROOT
from tests.helpers.photos import encoded, open_photo
from tests.helpers.processes import children, opened
from tests.helpers.terminal import read_screen

pytestmark = pytest.mark.spread

LAUNCHER = "torch.distributed.run"
TORCHRUN = (sys.executable, "-m", LAUNCHER)
TWO = ("--standalone", "--nproc-per-node", "2")
VALIDATE = ("validate", "--models", "bundled/scheme_2/v5", "--batch-size", "8")


@pytest.mark.parametrize(("count", "size", "world"), [(0, 8, 3), (1, 8, 3), (67, 8, 3), (64, 8, 4), (1000, 7, 6)])
def test_slices_are_whole_batches_and_cover_the_file(count: int, size: int, world: int) -> None:
    slices = [slice_of(count, size, rank, world) for rank in range(world)]
    assert [i for part in slices for i in part] == list(range(count))
    assert all(part.start % size == 0 for part in slices if len(part))
    lengths = [-(-len(part) // size) for part in slices]
    assert max(lengths) - min(lengths) <= 1


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """67 records, which neither the batch size nor the numbers of processes divide; one cannot be read."""
    path = tmp_path_factory.mktemp("sharded") / "photos.lmdb"
    variants = [encoded(open_photo("tower.jpg").rotate(angle).resize((256, 300)), "JPEG") for angle in range(0, 60, 10)]
    with LmdbWriter(path) as writer:
        for i in range(67):
            writer.put(Record(b"no image" if i == 50 else variants[i % len(variants)], i % 1000))
    return path


def variables_of_a_run(folder: Path, **more: str) -> dict[str, str]:
    # The same number of threads everywhere: it may change the last bit of a product.
    return {"OMP_NUM_THREADS": "1", "LOWRANK_CACHE_DIR": str(folder / "cache"), **more}


def validated(file: Path, folder: Path, *launch: str, resume: bool = False) -> dict[str, Any]:
    """The report of one run, without what depends on the time; torchrun starts it where ``launch`` has its options."""
    output = folder / f"{uuid.uuid4().hex}.json"
    command = [*VALIDATE, "--lmdb-file", str(file), "--json", str(output), *["--resume"] * resume]
    environment = variables_of_a_run(folder)
    if launch:
        done = run_module(LAUNCHER, *launch, "-m", "lowrank_demo", *command, **environment)
    else:
        done = run(*command, **environment)
    assert done.returncode == 0, done.stderr
    return without_times(json.loads(output.read_text()))


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in ("images_per_second", "measured_at")}


def test_any_number_of_processes_gives_the_same_integers(file: Path, tmp_path: Path) -> None:
    alone = validated(file, tmp_path)
    assert [item["index"] for item in alone["unreadable_records"]] == [50]
    assert alone["complete"]
    for world in ("1", "3"):
        assert validated(file, tmp_path, "--standalone", "--nproc-per-node", world) == alone
    assert not list((tmp_path / "cache" / "validations").glob("*")), "nothing is left to resume"


class Terminal:
    """Two processes at work as on a terminal, where the first one's progress shows at once; ended on leaving.

    Args:
        file: What they validate.
        folder: For the cache.
    """

    def __init__(self, file: Path, folder: Path) -> None:
        self._screen, side = pty.openpty()
        self._process = subprocess.Popen(
            [*TORCHRUN, *TWO, "-m", "lowrank_demo", *VALIDATE, "--lmdb-file", str(file)],
            cwd=ROOT,
            env={**os.environ, **variables_of_a_run(folder)},
            stdout=side,
            stderr=side,
        )
        os.close(side)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def wait_for(self, text: str) -> None:
        """Until the text is on the screen."""
        shown = ""
        while text not in shown:
            shown += (more := read_screen(self._screen))
            assert more, shown

    def wait_for_readers(self, file: Path) -> None:
        """Until both processes have opened the file."""
        deadline = time.monotonic() + 100
        while not all(any(opened(child, file) for child in children(self.rank(rank))) for rank in (0, 1)):
            assert time.monotonic() < deadline, "both processes open the file"
            time.sleep(0.05)

    def rank(self, rank: int) -> int:
        """The id of the process of this rank; 0 while there is none."""
        found = (pid for pid in children(self._process.pid) if f"RANK={rank}" in variables(pid))
        return next(found, 0)

    def lose(self, rank: int) -> str:
        """What the screen shows from when this process is killed until all have ended."""
        os.kill(self.rank(rank), signal.SIGKILL)
        shown = ""
        while more := read_screen(self._screen):
            shown += more
        assert self._process.wait(60) != 0
        return shown


def variables(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_text().split("\0")
    return []


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    build_long_lmdb(tmp_path / "long.lmdb", 400)
    return tmp_path / "long.lmdb"


def test_a_killed_process_ends_the_run_and_resume_completes_it(long_file: Path, tmp_path: Path) -> None:
    with Terminal(long_file, tmp_path) as terminal:
        terminal.wait_for("slice 1 of 2")
        shown = terminal.lose(1)
    assert "another process of this run ended early" in shown
    assert "--resume continues from here" in shown
    done = validated(long_file, tmp_path, *TWO, resume=True)
    assert done == validated(long_file, tmp_path)


def test_a_process_lost_while_the_others_load_is_said(long_file: Path, tmp_path: Path) -> None:
    with Terminal(long_file, tmp_path) as terminal:
        terminal.wait_for_readers(long_file)
        shown = terminal.lose(1)
    assert "another process of this run ended early" in shown


@pytest.fixture
def two_machines() -> Iterator[tuple[list[str], list[str], str]]:
    """Two network namespaces joined by a cable: the commands that run in each, and the first one's address."""
    names = [f"lr{os.getpid() % 10000}{side}" for side in "ab"]
    ip = shutil.which("ip") or "/sbin/ip"

    def set_up(*command: str) -> None:
        subprocess.run([ip, *command], check=True, capture_output=True, timeout=20)

    try:
        for name in names:
            set_up("netns", "add", name)
        set_up("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for number, name in enumerate(names, start=1):
            set_up("-n", name, "addr", "add", f"10.213.7.{number}/24", "dev", name)
            for device in (name, "lo"):
                set_up("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.SubprocessError) as error:
        for name in names:
            subprocess.run([ip, "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"network namespaces cannot be made here ({error})")
    inside = [[ip, "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={name}"] for name in names]
    yield inside[0], inside[1], "10.213.7.1"
    for name in names:
        subprocess.run([ip, "netns", "del", name], check=False, capture_output=True)


def test_two_machines(file: Path, tmp_path: Path, two_machines: tuple[list[str], list[str], str]) -> None:
    output = tmp_path / "report.json"
    first, second, address = two_machines
    processes = [
        subprocess.Popen(
            [
                *(*inside, *TORCHRUN, "--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1"),
                *("--master-addr", address, "--master-port", "29577"),
                *("-m", "lowrank_demo", *VALIDATE, "--lmdb-file", str(file), "--json", str(output)),
            ],
            cwd=ROOT,
            env={**os.environ, **variables_of_a_run(tmp_path, LOWRANK_CACHE_DIR=str(tmp_path / f"machine-{rank}"))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, inside in enumerate((first, second))
    ]
    deadline = time.monotonic() + 200
    outputs = [process.communicate(timeout=max(1, deadline - time.monotonic()))[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert without_times(json.loads(output.read_text())) == validated(file, tmp_path)
