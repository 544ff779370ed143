"""The command line as its user runs it: a process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lowrank_demo.models.zoo import Zoo
from tests.helpers.app import free_port
from tests.helpers.commands import run
from tests.helpers.models import zoo_with
from tests.helpers.paths import ROOT
from tests.helpers.photos import photo_path

pytestmark = pytest.mark.spread


def loads_none_of(heavy: set[str], *arguments: str) -> str:
    """Run the command in a process of its own that must import none of these packages; return what it printed."""
    code = (
        "import sys, lowrank_demo.cli\n"
        f"assert lowrank_demo.cli.main({list(arguments)}) == 0\n"
        f"found = {heavy} & set(sys.modules)\nassert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_little_is_loaded() -> None:
    heavy = {"torch", "gradio", "nvidia", "numpy", "plotly", "PIL"}
    assert "classify" in loads_none_of(heavy | {"httpx", "pydantic"}, "--help")
    loads_none_of(heavy, "models")


def test_models(zoo: Zoo) -> None:
    done = run("models", "--json")
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)
    assert [model["id"] for model in models] == [card.id for card in zoo]
    v5 = next(model for model in models if model["id"] == "published/scheme_2/v5")
    assert (v5["macs"], v5["published"]["mflops"], v5["weights"]) == (151526320, 151, "to download")
    assert next(model for model in models if model["id"].startswith("bundled"))["weights"] == "bundled"
    table = run("models").stdout
    assert all(card.id in table for card in zoo)
    assert "7 28 69 71 88 506 349 255" in table


def test_classify(tmp_path: Path) -> None:
    lion = str(photo_path("lion.jpg"))
    bad = tmp_path / "text.jpg"
    bad.write_text("hello")
    done = run("classify", lion, str(bad), "--json")
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert answer["model"] == "bundled/scheme_2/v5"
    good, refused = answer["photos"]
    assert "lion" in [guess["name"] for guess in good["top"]]
    assert len(good["top"]) == 5
    assert "is a text" in refused["error"]
    text = run("classify", lion)
    assert text.returncode == 0
    assert "[n02129165]" in text.stdout


def test_exit_codes(tmp_path: Path) -> None:
    lion = str(photo_path("lion.jpg"))
    dead = {"url": f"http://127.0.0.1:{free_port()}/x"}
    zoo_path = str(zoo_with(tmp_path / "zoo", {"published/scheme_1/v1": dead}))
    for expected, done in (
        (1, run("classify")),
        (1, run("classify", lion, "--model", "scheme_1/v77")),
        (1, run("models", LOWRANK_DEVICE="abacus")),
        (3, run("classify", lion, "--model", "scheme_1/v1", LOWRANK_ZOO=zoo_path)),
    ):
        assert done.returncode == expected, done
        assert "Traceback" not in done.stderr


MISSING = [
    "classify NOTHING",
    "classify LION NOTHING --json",
    "classify LION --model x/y",
    f"classify {'x' * 300}.jpg",
    "resize NOTHING --in-place",
    "build-lmdb --images NOTHING --lmdb-file OUT",
    "build-lmdb --imagenet-folder NOTHING --val --lmdb-file OUT",
    "build-lmdb --images FOLDER --labels NOTHING --lmdb-file OUT",
    "build-lmdb --images NOTHING --labels LABELS --lmdb-file OUT",
    "validate --lmdb-file NOTHING",
    "validate --lmdb-file NOTHING --check-file",
    "validate --lmdb-file LION --models x/y",
    "train reference NOTHING",
    "train reference RUN",
    "train compress RUN",
    "train finetune RUN",
    "convert x/y --to OUT",
    "convert bundled/scheme_2/v5 --to OUT --file NOTHING",
    "export x/y --to OUT",
    "export bundled/scheme_2/v5 --to OUT --file NOTHING",
    "publish-weights x/y --repo owner/name",
]


@pytest.mark.parametrize("command", MISSING)
def test_what_is_not_there_is_a_usage_error(tmp_path: Path, command: str) -> None:
    labels, config = tmp_path / "labels.txt", tmp_path / "run.toml"
    labels.write_text("cat.jpg 281\n")
    config.write_text('[data]\ntrain = "none.lmdb"\nvalidation = "none.lmdb"\n')
    places = {
        "NOTHING": tmp_path / "nothing",
        "LION": photo_path("lion.jpg"),
        "FOLDER": tmp_path,
        "LABELS": labels,
        "RUN": config,
        "OUT": tmp_path / "out",
    }
    done = run(*(str(places.get(word, word)) for word in command.split()))
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert re.fullmatch(r"lowrank_demo: There is no .+[;.].*\n", done.stderr)
    assert not places["OUT"].exists()
