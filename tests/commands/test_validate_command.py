"""``validate`` on real shells: where reports may go, what is printed, and how variables of a launcher are met."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.app import free_port
from tests.helpers.commands import run, start
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.photos import photo_path
from tests.helpers.terminal import stopped_under_way

pytestmark = [
    pytest.mark.spread,
    pytest.mark.skipif(sys.platform == "win32", reason="needs devices, pipes and signals"),
]

PREVIEW = "preview/scheme_2/v5"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "file.lmdb"
    build_long_lmdb(path, 8)
    return path


def validate(file: Path, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    done = run("validate", "--lmdb-file", str(file), "--models", PREVIEW, *map(str, options), **environment)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("option", ["--json", "--csv", "--html"])
def test_a_place_that_cannot_be_written_is_refused_before_the_pass(file: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "folder", file / "report", Path("/proc/report"), file):
        done = validate(file, option, place)
        assert done.returncode == 1
        assert "images" not in done.stderr, "nothing was measured"
        assert done.stdout == ""
    both = validate(file, "--json", tmp_path / "one", option if option != "--json" else "--csv", tmp_path / "one")
    assert "would overwrite the report of --json" in both.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_report_that_fails_costs_nothing(file: Path, tmp_path: Path) -> None:
    """A full device takes no report: the other report and the table are there, and the pass need not run again."""
    table, states = tmp_path / "table.csv", tmp_path / "cache" / "validations"
    done = validate(file, "--json", "/dev/full", "--csv", table)
    assert done.returncode == 2
    assert "/dev/full could not be written (No space left on device)" in done.stderr
    assert PREVIEW in done.stdout
    assert PREVIEW in table.read_text()
    assert len(list(states.iterdir())) == 1
    again = validate(file, "--json", tmp_path / "report.json", "--resume")
    assert again.returncode == 0
    assert "continuing from record 8" in again.stderr
    assert json.loads((tmp_path / "report.json").read_text())["count"] == 8
    assert list(states.iterdir()) == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_lacks_is_escaped(file: Path, tmp_path: Path, encoding: str) -> None:
    report = tmp_path / "report.json"
    done = validate(file, "--json", report, PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert "\\u2013" in done.stdout, "the dash of an error that was not published"
    assert json.loads(report.read_text())["count"] == 8


def test_reports_go_to_pipes_and_links(file: Path, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("table.csv")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert validate(file, "--json", pipe, "--csv", link).returncode == 0
    reader.join(20)
    assert json.loads(read[0])["count"] == 8
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert PREVIEW in (tmp_path / "table.csv").read_text()


def test_a_report_on_standard_output_is_alone_there(file: Path) -> None:
    for name in ("-", "/dev/stdout"):
        done = validate(file, "--json", name)
        assert json.loads(done.stdout)["count"] == 8
        assert PREVIEW in done.stderr, "the table"


def test_a_new_start_is_said(file: Path) -> None:
    assert "no saved pass; starting at the beginning" in validate(file, "--resume").stderr


def test_variables_that_a_launcher_left(file: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    for variables, sentence in (
        ({"RANK": "1"}, "RANK is 1 in the environment and WORLD_SIZE is not set"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "WORLD_SIZE is 2 in the environment, but MASTER_ADDR and MASTER_PORT"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, 'RANK is "x" in the environment'),
    ):
        done = validate(file, "--json", report, **variables)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "images" not in done.stderr, "before the work starts"
        assert not report.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wait_for_processes_that_nobody_started_can_be_ended(file: Path, number: signal.Signals) -> None:
    group = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    process = start("validate", "--lmdb-file", str(file), "--models", PREVIEW, **group)
    assert process.pid
    time.sleep(5)
    assert process.is_alive()
    os.kill(process.pid, number)
    process.join(20)
    assert process.exitcode == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_saves_the_pass(tmp_path: Path, number: signal.Signals) -> None:
    labelled, report = tmp_path / "long.lmdb", tmp_path / "report.json"
    build_long_lmdb(labelled, 2000)
    command = ("validate", "--lmdb-file", str(labelled), "--models", PREVIEW, "--json", str(report))
    code, _, said = stopped_under_way(command, {}, number)
    assert code == 130
    assert "--resume continues from here" in said
    assert not json.loads(report.read_text())["complete"]
    assert len(list((tmp_path / "cache" / "validations").iterdir())) == 1


def test_every_command_prints_in_every_encoding(tmp_path: Path) -> None:
    photo = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(photo)).write_bytes(photo_path().read_bytes())
    models = run("models", PYTHONIOENCODING="latin-1")
    assert (models.returncode, "\\u03bb" in models.stdout) == (0, True), models.stderr
    classified = run("classify", os.fsdecode(photo), PYTHONIOENCODING="utf-8:strict")
    assert (classified.returncode, "caf\\udce9.jpg" in classified.stdout) == (0, True), classified.stderr


def test_a_full_standard_output_is_one_sentence(file: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "LOWRANK_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "lowrank_demo", "validate", "--lmdb-file", str(file), "--models", PREVIEW]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("lowrank_demo: The output could not be written: No space left on device.\n")
    assert len(list((tmp_path / "cache" / "validations").iterdir())) == 1, "what was measured is kept"
