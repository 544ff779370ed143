"""``validate`` on real shells: where reports may go, what is printed, and how variables of a launcher are met."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lowrank_demo.data.lmdb.manifest import manifest_path
from tests.helpers.commands import run
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.paths import ROOT
from tests.helpers.photos import photo_path
from tests.helpers.terminal import stopped_under_way

pytestmark = [
    pytest.mark.spread,
    pytest.mark.skipif(sys.platform == "win32", reason="needs devices, pipes and signals"),
]

V5 = "bundled/scheme_2/v5"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "file.lmdb"
    build_long_lmdb(path, 8)
    return path


def validate(file: Path, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    done = run("validate", "--lmdb-file", str(file), "--models", V5, *map(str, options), **environment)
    assert "Traceback" not in done.stderr
    return done


def test_a_place_that_cannot_be_written_is_refused_before_the_pass(file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    manifest = manifest_path(file)
    manifest.write_text("kept")
    for options, sentence in (
        (("--json", tmp_path / "folder"), "is a folder"),
        (("--csv", file / "report"), "There is no folder"),
        (("--html", "/proc/report"), "cannot be written"),
        (("--csv", file), "would overwrite the labelled file"),
        (("--json", manifest), "would overwrite the file's manifest"),
        (("--json", tmp_path / "one", "--csv", tmp_path / "one"), "would overwrite the report of --json"),
    ):
        done = validate(file, *options)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "images" not in done.stderr, "nothing was measured"
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    assert manifest.read_text() == "kept"
    manifest.unlink()


def test_a_report_that_fails_costs_nothing(file: Path, tmp_path: Path) -> None:
    """A full device takes no report: the other report and the table are there, and the pass need not run again."""
    table, states = tmp_path / "table.csv", tmp_path / "cache" / "validations"
    done = validate(file, "--json", "/dev/full", "--csv", table)
    assert done.returncode == 2
    assert "/dev/full could not be written (No space left on device)" in done.stderr
    assert V5 in done.stdout
    assert V5 in table.read_text()
    assert len(list(states.iterdir())) == 1
    again = validate(file, "--json", tmp_path / "report.json", "--resume")
    assert again.returncode == 0
    assert "continuing from record 8" in again.stderr
    assert "8 images of" in again.stdout
    assert "all measured before" in again.stdout
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
    assert V5 in (tmp_path / "table.csv").read_text()


def test_a_report_on_standard_output_is_alone_there(file: Path) -> None:
    for name in ("-", "/dev/stdout"):
        done = validate(file, "--json", name)
        assert json.loads(done.stdout)["count"] == 8
        assert V5 in done.stderr, "the table"


def test_a_new_start_is_said(file: Path) -> None:
    assert "no saved pass of these models; starting at the beginning" in validate(file, "--resume").stderr


def test_a_wrong_option_is_named_as_typed(file: Path) -> None:
    done = validate(file, "--precision", "int8")
    assert done.returncode == 1
    assert done.stderr == 'lowrank_demo: --precision is "int8"; expected "fp32" or "bf16".\n'
    for options, variables, said in (
        ((), {"LOWRANK_PRECISION": "int8"}, 'LOWRANK_PRECISION is "int8"'),
        (("--device", "cpu"), {"LOWRANK_DEVICES": "0"}, "LOWRANK_DEVICES is not a setting; expected one of: LOWRANK_"),
    ):
        assert said in validate(file, *options, **variables).stderr


def test_variables_that_a_launcher_left(file: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = validate(file, "--json", report, RANK="1")
    assert done.returncode == 1
    assert "RANK is 1 in the environment and WORLD_SIZE is not set" in done.stderr
    assert "images" not in done.stderr, "before the work starts"
    assert not report.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_saves_the_pass(tmp_path: Path, number: signal.Signals) -> None:
    labelled, report = tmp_path / "long.lmdb", tmp_path / "report.json"
    build_long_lmdb(labelled, 2000)
    command = ("validate", "--lmdb-file", str(labelled), "--models", V5, "--json", str(report))
    code, _, said = stopped_under_way(command, {}, number)
    assert code == 130
    assert number == signal.SIGHUP or "--resume continues from here" in said
    assert not json.loads(report.read_text())["complete"]
    assert len(list((tmp_path / "cache" / "validations").iterdir())) == 1


def test_signals_in_a_hurry_are_one_sentence(tmp_path: Path) -> None:
    """The lanes compute while the second and the third arrive."""
    labelled = tmp_path / "long.lmdb"
    build_long_lmdb(labelled, 2000)
    command = ("validate", "--lmdb-file", str(labelled), "--models", V5)
    code, _, said = stopped_under_way(command, {"OMP_NUM_THREADS": "2"}, signal.SIGINT, times=3)
    assert code in (130, -signal.SIGINT), "the last may end a program that has nothing left to do"
    assert "\nstopped; --resume continues from here." in said.replace("\r", "")
    assert "Traceback" not in said
    assert "terminate" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_too_little_memory_is_one_sentence(tmp_path: Path) -> None:
    labelled = tmp_path / "long.lmdb"
    build_long_lmdb(labelled, 600)
    command = ["-m", "lowrank_demo", "validate", "--lmdb-file", str(labelled), "--models", V5]
    environment = {**os.environ, "LOWRANK_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    limited = ["sh", "-c", 'ulimit -v 2300000; exec "$@"', "sh", sys.executable, *command, "--batch-size", "500"]
    done = subprocess.run(limited, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "There is not enough memory for batches of 500 images, 2 at a time; choose a smaller batch size" in last
    assert "Traceback" not in done.stderr


def test_every_command_prints_in_every_encoding(tmp_path: Path) -> None:
    photo = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(photo)).write_bytes(photo_path().read_bytes())
    models = run("models", PYTHONIOENCODING="latin-1")
    assert (models.returncode, "\\u03bb" in models.stdout) == (0, True), models.stderr
    classified = run("classify", os.fsdecode(photo), PYTHONIOENCODING="utf-8:strict")
    assert (classified.returncode, "caf\\udce9.jpg" in classified.stdout) == (0, True), classified.stderr


def test_a_full_standard_output_is_one_sentence(file: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "LOWRANK_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "lowrank_demo", "validate", "--lmdb-file", str(file), "--models", V5]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "lowrank_demo: The output could not be written (No space left on device). What was meas" in done.stderr
    assert len(list((tmp_path / "cache" / "validations").iterdir())) == 1, "what was measured is kept"


def test_a_full_standard_error_costs_nothing(file: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "lowrank_demo", "validate", "--lmdb-file", str(file), "--models", V5]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command, "--json", str(report)], stdout=subprocess.PIPE, stderr=full, check=True)
    assert json.loads(report.read_text())["count"] == 8
    assert V5.encode() in done.stdout
