"""Models as folders for the Hub: written by the command, loaded by the Hub library's from_pretrained."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard as HubCard

from lowrank_demo.cli import main
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import LocalFile
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from tests.helpers.models import zoo_with
from tests.helpers.paths import ROOT, sha256

V5 = "bundled/scheme_2/v5"


@torch.no_grad()
def test_a_converted_model_answers_as_before(zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "v5"
    assert main(["convert", V5, "--to", str(folder)]) == 0
    assert {file.name for file in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert [file.name for file in folder.parent.iterdir()] == ["v5"], "nothing else is left"
    card = zoo.get(V5)
    source = LocalFile(zoo.folder / card.weights.file, card.weights.sha256, card.weights.format)
    images = torch.randn(2, 3, 227, 227)
    loaded = LowRankAlexNet.from_pretrained(folder)
    assert not loaded.training
    assert torch.equal(loaded(images), load_network(card, source)(images))
    described: Any = HubCard.load(folder / "README.md").data
    assert described.license == "mit"
    results = described.eval_results
    assert results
    told = {(r.dataset_name, r.metric_name): r.metric_value for r in results}
    assert len(told) == 2 * len(card.measured)
    for one in card.measured:
        assert told[one.dataset, "top-1 accuracy"] == pytest.approx(1 - one.top1 / 100, abs=1e-4)
        assert told[one.dataset, "top-5 accuracy"] == pytest.approx(1 - one.top5 / 100, abs=1e-4)


def test_a_published_file_is_checked_and_converted(
    pickled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo_file = zoo_with(tmp_path, {"published/scheme_2/v5": {"sha256": sha256(pickled)}})
    monkeypatch.setenv("LOWRANK_ZOO", str(zoo_file))
    folder = tmp_path / "v5"
    assert main(["convert", "scheme_2/v5", "--file", str(pickled), "--to", str(folder)]) == 0
    before = torch.load(pickled, weights_only=True)
    after = safetensors.torch.load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)

    assert main(["convert", "scheme_2/v5", "--file", str(pickled), "--to", str(folder)]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["convert", "scheme_1/v1", "--file", str(pickled), "--to", str(tmp_path / "v1")]) == 3
    assert "SHA-256" in capsys.readouterr().err
    assert not (tmp_path / "v1").exists()


def test_a_truncated_model_and_a_file_that_lacks_a_key(tmp_path: Path) -> None:
    folder = tmp_path / "truncated"
    assert main(["convert", f"{V5}@3-5-5-5-5-20-20-0", "--to", str(folder)]) == 0
    assert json.loads((folder / "config.json").read_text())["ranks"] == [3, 5, 5, 5, 5, 20, 20, 1]
    assert LowRankAlexNet.from_pretrained(folder).ranks == (3, 5, 5, 5, 5, 20, 20, 1)
    readme = (folder / "README.md").read_text()
    assert "This is a cut of trained weights" in readme
    assert "It is a cut of v5, whose ranks were learned at λ = 0.25e-4." in readme
    assert "of 100 photos" not in readme.lower(), "what was measured on the whole model is not said of the cut"
    weights = folder / "model.safetensors"
    state = safetensors.torch.load_file(weights)
    del state["features.0.V.weight"]
    safetensors.torch.save_file(state, weights)
    with pytest.raises(RuntimeError, match=r"features\.0\.V\.weight"):
        LowRankAlexNet.from_pretrained(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no limit of a file's size")
def test_a_place_that_cannot_be_written_is_found_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", V5, "--to", "/proc/model"]) == 1
    assert "/proc/model cannot be written (No such file or directory); choose another place." in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [("convert", "--to", "model"), ("publish-weights", "--repo", "owner/models")], ids=["convert", "publish"]
)
def test_a_place_that_takes_no_more_is_one_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", sys.executable, "-m", "lowrank_demo", *command, V5],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2, ended.stderr
    assert re.fullmatch(r"lowrank_demo: .*File too large.*; free (some )?space .*\n", ended.stderr)
    assert list(tmp_path.iterdir()) == []
