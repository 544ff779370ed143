"""``resize``, ``build-lmdb`` and ``validate`` as processes, from end to end."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from lowrank_demo.data.lmdb.manifest import read_manifest
from lowrank_demo.data.lmdb.reader import LmdbReader
from tests.helpers.app import free_port
from tests.helpers.commands import run
from tests.helpers.lmdb_files import build_long_lmdb
from tests.helpers.models import zoo_with
from tests.helpers.photos import open_photo, photo_path
from tests.helpers.terminal import stopped_under_way

pytestmark = pytest.mark.spread

V5 = "bundled/scheme_2/v5"


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    val = tmp_path / "imagenet" / "val"
    for synset, photo in (("n02129165", "lion.jpg"), ("n02130308", "cheetah.jpg"), ("n02130308", "cheetah1.jpg")):
        (val / synset).mkdir(parents=True, exist_ok=True)
        (val / synset / photo).with_suffix(".JPEG").write_bytes(photo_path(photo).read_bytes())
    (val / "n02129165" / "text.JPEG").write_text("no photo")
    return tmp_path / "imagenet"


def test_from_folder_to_report(imagenet: Path, tmp_path: Path) -> None:
    resized = tmp_path / "resized"
    done = run("resize", str(imagenet / "val"), "--to", str(resized / "val"))
    assert done.returncode == 2, "one image was refused"
    assert "3 images resized, 0 already done, 1 refused" in done.stdout
    assert "text.JPEG: The file is a text" in done.stderr

    out = tmp_path / "val"
    build = ("build-lmdb", "--imagenet-folder", str(resized), "--val", "--lmdb-file", str(out))
    done = run(*build)
    assert done.returncode == 0, done.stderr
    assert "3 images of 2 classes" in done.stdout
    with LmdbReader(out) as reader:
        assert sorted(record.label for record in reader) == [291, 293, 293]
        assert all(min(Image.open(io.BytesIO(r.image)).size) == 256 for r in reader)
    again = run(*build)
    assert again.returncode == 1
    assert "already exists" in again.stderr
    assert run(*build, "--overwrite").returncode == 0

    report, table = tmp_path / "report.json", tmp_path / "report.csv"
    done = run("validate", "--lmdb-file", str(out), "--json", str(report), "--csv", str(table), "--check-file")
    assert done.returncode == 0, done.stderr
    assert V5 in done.stdout
    assert "3 images of val" in done.stdout
    data = json.loads(report.read_text())
    assert (data["count"], data["unreadable"]) == (3, 0)
    assert [model["id"] for model in data["models"]] == [
        *(f"bundled/scheme_1/v{number}" for number in range(1, 5)),
        *(f"bundled/scheme_2/v{number}" for number in range(1, 6)),
    ]
    assert data["images_per_second"] > 0
    assert data["conditions"] | {"decoder": "any"} == {
        "decoder": "any",
        "device": "cpu",
        "engine": "torch",
        "precision": "fp32",
    }
    assert "computed by torch in fp32 on cpu" in done.stdout
    with table.open() as opened:
        assert float(next(csv.DictReader(opened))["top5_error"]) == data["models"][0]["top5_error"]


def test_building_and_resizing_in_one(imagenet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.lmdb"
    done = run("build-lmdb", "--images", str(imagenet / "val"), "--shortest-edge", "256", "--lmdb-file", str(out))
    assert done.returncode == 2
    assert "1 refused" in done.stdout
    with LmdbReader(out) as reader:
        assert len(reader) == 3
    labels = tmp_path / "labels.txt"
    labels.write_text("n02129165/lion.JPEG 700\n")
    done = run(
        "build-lmdb", "--images", str(imagenet / "val"), "--labels", str(labels), "--lmdb-file", str(tmp_path / "l")
    )
    assert done.returncode == 0
    assert ": 1 image of 1 class, " in done.stdout
    with LmdbReader(tmp_path / "l") as reader:
        assert reader[0].label == 700


def test_every_image_decoded_on_request(imagenet: Path, tmp_path: Path) -> None:
    folder = imagenet / "val" / "n02129165"
    whole = photo_path("tower.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    digests = []
    for options in ((), ("--decode-all",), ("--decode-all", "--shortest-edge", "256")):
        out = tmp_path / "out.lmdb"
        done = run("build-lmdb", "--images", str(imagenet / "val"), "--lmdb-file", str(out), "--overwrite", *options)
        assert done.returncode == 2
        assert "3 images of 2 classes" in done.stdout
        assert "cut.jpg: The JPEG is cut off" in done.stderr
        digests.append(read_manifest(out).sha256)
    assert digests[0] == digests[1] != digests[2]


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    out = ("--lmdb-file", str(tmp_path / "out.lmdb"))
    for options, sentence in (
        (("--imagenet-folder", str(tmp_path), "--val", "--labels", "x"), "--labels goes with --images"),
        (("--images", str(tmp_path), "--val"), "--val goes with --imagenet-folder"),
        (("--images", str(tmp_path), "--quality", "90"), "--quality goes with --shortest-edge"),
        (
            ("--images", str(tmp_path), "--shortest-edge", "256", "--quality", "0"),
            "The quality is 0; expected 1 to 100",
        ),
    ):
        done = run("build-lmdb", *options, *out)
        assert done.returncode == 1
        assert sentence in done.stderr


def test_one_odd_image_or_folder_never_ends_a_build(imagenet: Path, tmp_path: Path) -> None:
    val = imagenet / "val"
    open_photo().resize((10, 3000)).save(val / "n02129165" / "thin.jpg")
    open_photo().convert("CMYK").save(val / "n02129165" / "cmyk.tif")
    for folder in ("unicorn", "n00004475"):
        (val / folder).mkdir()
        open_photo().save(val / folder / "1.jpg")
    out = tmp_path / "out.lmdb"
    done = run("build-lmdb", "--images", str(val), "--shortest-edge", "256", "--lmdb-file", str(out))
    assert done.returncode == 2
    assert "4 images of 2 classes" in done.stdout
    assert "4 refused" in done.stdout
    for part in ("thin.jpg: The photo has", "text.JPEG: The file is a text", "unicorn: ", "n00004475 is not one of"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert read_manifest(out).refused == 4


def test_when_every_image_is_refused_the_reasons_are_shown(tmp_path: Path) -> None:
    (tmp_path / "lion").mkdir()
    (tmp_path / "lion" / "1.jpg").write_text("no photo")
    out = tmp_path / "out.lmdb"
    done = run("build-lmdb", "--images", str(tmp_path), "--lmdb-file", str(out))
    assert done.returncode == 2
    assert "1.jpg: The file is a text file" in done.stderr
    assert not out.exists()


def test_a_training_file_is_shuffled(imagenet: Path, tmp_path: Path) -> None:
    (imagenet / "val").rename(imagenet / "train")
    run("build-lmdb", "--imagenet-folder", str(imagenet), "--train", "--lmdb-file", str(tmp_path / "train.lmdb"))
    assert read_manifest(tmp_path / "train.lmdb").seed == 0
    run("build-lmdb", "--images", str(imagenet / "train"), "--lmdb-file", str(tmp_path / "own.lmdb"))
    assert read_manifest(tmp_path / "own.lmdb").seed is None


def test_resize_to_the_originals_own_folder_is_refused(imagenet: Path) -> None:
    before = {path: path.read_bytes() for path in imagenet.rglob("*.*")}
    done = run("resize", str(imagenet), "--to", f"{imagenet}/../{imagenet.name}", "--shortest-edge", "50")
    assert done.returncode == 1
    assert "is the folder of the originals; expected another one, or --in-place" in done.stderr
    assert {path: path.read_bytes() for path in imagenet.rglob("*.*")} == before


def test_the_list_of_class_names() -> None:
    assert len(run("classes").stdout.splitlines()) == 1000
    assert run("classes", "crane").stdout == (
        "134  n02012849  crane bird; crane\n517  n03126707  construction crane; crane\n"
    )
    none = run("classes", "unicorn")
    assert (none.returncode, none.stdout) == (1, "")
    assert 'No class has "unicorn" in a name' in none.stderr


def test_images_without_labels_are_for_training_alone(imagenet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.lmdb"
    done = run("build-lmdb", "--images", str(imagenet), "--unlabelled", "--lmdb-file", str(out))
    assert "images of 0 classes" in done.stdout
    with LmdbReader(out) as reader:
        assert {record.label for record in reader} == {-1}
    refused = run("validate", "--lmdb-file", str(out))
    assert refused.returncode == 2
    assert "has label -1; expected 0 to 999" in refused.stderr
    both = run("build-lmdb", "--images", str(imagenet), "--unlabelled", "--labels", "x", "--lmdb-file", str(out))
    assert both.returncode == 1
    assert "--unlabelled goes with --images alone" in both.stderr


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.lmdb"
    build_long_lmdb(path, 200)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_and_resume(long_file: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    two = "bundled/scheme_1/v4,bundled/scheme_2/v5"
    command = ("validate", "--lmdb-file", str(long_file), "--models", two, "--batch-size", "8", "--json", str(report))
    assert run(*command).returncode == 0
    expected = json.loads(report.read_text())

    code, out, said = stopped_under_way(command, {})
    assert code == 130, (out, said)
    assert "--resume continues from here" in said
    assert "stopped: 200 records in the file" in out
    assert "Traceback" not in said
    stopped = json.loads(report.read_text())
    assert not stopped["complete"]
    assert 0 < stopped["count"] < 200

    resumed = run(*command, "--resume")
    assert f"continuing from record {stopped['count']:,}" in resumed.stderr
    found = json.loads(report.read_text())
    for data in (expected, found):
        del data["images_per_second"], data["measured_at"]
    assert found == expected, "the same bits as without stopping"


def test_exit_codes(long_file: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(os.urandom(9000))
    dead = {"url": f"http://127.0.0.1:{free_port()}/x"}
    zoo_path = str(zoo_with(tmp_path / "zoo", {"published/scheme_1/v1": dead}))
    file = str(long_file)
    for expected, sentence, done in (
        (1, "--lmdb-file", run("validate")),
        (1, 'no model "x/y"', run("validate", "--lmdb-file", file, "--models", "x/y")),
        (1, "batch size", run("validate", "--lmdb-file", file, "--batch-size", "0")),
        (1, "none of these models was published", run("validate", "--lmdb-file", file, "--verify")),
        (1, '--decoder is "magic"', run("validate", "--lmdb-file", file, "--decoder", "magic")),
        (1, "no folder", run("validate", "--lmdb-file", file, "--json", "/nowhere/at/all.json")),
        (1, "--val or --train", run("build-lmdb", "--imagenet-folder", "/tmp", "--lmdb-file", "/tmp/x.lmdb")),
        (2, "not an LMDB", run("validate", "--lmdb-file", str(garbage))),
        (2, "no garbage.manifest.json", run("validate", "--lmdb-file", str(garbage), "--check-file")),
        (
            3,
            "not on this machine",
            run("validate", "--lmdb-file", file, "--models", "scheme_1/v1", LOWRANK_ZOO=zoo_path),
        ),
    ):
        assert done.returncode == expected, done
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def test_verify_fails_outside_the_tolerance(
    long_file: Path, served_settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Random weights in a published model's shape are nearly always wrong, so they miss the published errors."""
    done = run(
        "validate",
        "--lmdb-file",
        str(long_file),
        "--models",
        "scheme_2/v5",
        "--verify",
        LOWRANK_ZOO=str(served_settings.zoo),
    )
    assert done.returncode == 2
    assert "published errors were not reproduced: published/scheme_2/v5: top-1 differs by +5" in done.stderr
    assert "41.03" in done.stdout
