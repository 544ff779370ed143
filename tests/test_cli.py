"""The command line as its user runs it: a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lowrank_demo.models.cards import Zoo
from tests.helpers.app import free_port
from tests.helpers.commands import run
from tests.helpers.models import zoo_with
from tests.helpers.paths import ROOT
from tests.helpers.photos import photo_path

pytestmark = pytest.mark.spread


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, lowrank_demo, lowrank_demo.cli\n"
        "assert lowrank_demo.cli.main(['--help']) == 0\n"
        "heavy = {'torch', 'gradio', 'nvidia', 'numpy', 'plotly', 'PIL', 'httpx', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "classify" in done.stdout


def test_models_loads_no_torch() -> None:
    code = (
        "import sys, lowrank_demo.cli\n"
        "assert lowrank_demo.cli.main(['models']) == 0\n"
        "heavy = {'torch', 'gradio', 'nvidia', 'numpy', 'plotly', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_models(zoo: Zoo) -> None:
    done = run("models", "--json")
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)
    assert [model["id"] for model in models] == [card.id for card in zoo]
    v5 = next(model for model in models if model["id"] == "published/scheme_2/v5")
    assert (v5["macs"], v5["published"]["mflops"], v5["weights"]) == (151526320, 151, "to download")
    assert next(model for model in models if model["id"].startswith("preview"))["weights"] == "bundled"
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
    assert answer["model"] == "preview/scheme_2/v5"
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
