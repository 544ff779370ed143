"""ONNX files: ONNX Runtime computes the app's answers from them."""

from __future__ import annotations

import copy
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.cli import main
from lowrank_demo.decode.pillow import decode_one
from lowrank_demo.lowrank.load import load_network
from lowrank_demo.models.store import LocalFile
from lowrank_demo.models.zoo import Zoo
from tests.helpers.paths import ROOT
from tests.helpers.photos import photo_path

pytestmark = pytest.mark.spread

V5 = "bundled/scheme_2/v5"


def test_an_exported_model_answers_as_the_app(zoo: Zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, link = tmp_path / "v5.onnx", tmp_path / "link"
    link.symlink_to(file.name)
    assert main(["export", V5, "--to", str(link)]) == 0
    assert "logits differ by" in capsys.readouterr().out
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "v5.onnx"]
    session = onnxruntime.InferenceSession(file)
    assert session.get_modelmeta().custom_metadata_map["model"] == V5
    card = zoo.get(V5)
    source = LocalFile(zoo.folder / card.weights.file, card.weights.sha256, card.weights.format)
    classifier = Classifier(load_network(card, source), torch.device("cpu"))
    photos = []
    for name in ("lion.jpg", "tower.jpg", "cheetah1.jpg", "lion.jpg", "tower.jpg"):
        data = io.BytesIO()
        Image.open(photo_path(name)).convert("RGB").save(data, "PNG")
        photos.append(decode_one(data.getvalue()))
    pixels = torch.stack(photos)
    (found,) = session.run(None, {"images": pixels.numpy()})
    np.testing.assert_allclose(np.asarray(found), classifier.logits(pixels).numpy(), atol=2e-3)


def test_a_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bias of a thousand differs in what the exporter writes."""
    right = torch.onnx.export

    def wrong(module: torch.nn.Module, *arguments: Any, **options: Any) -> Any:
        other = copy.deepcopy(module)
        other.get_parameter("classifier.8.U.bias").data[7] += 0.1
        return right(other, *arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    assert main(["export", V5, "--to", str(tmp_path / "v5.onnx")]) == 2
    assert "it was not kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
def test_a_place_that_is_no_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    assert main(["export", V5, "--to", str(tmp_path / "link")]) == 1
    assert "link is a device or a pipe; expected the name of a file" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()


def test_without_the_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", V5, "--to", str(tmp_path / "v5.onnx")]) == 1
    # It names the packages of the extra, because pip knows the extra only in a clone.
    extra = re.search(r"^onnx = (.+)$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert extra is not None
    packages = " ".join(re.findall(r'"(\w+)', extra[1]))
    assert f"onnxscript, which is not installed; run `pip install {packages}`." in capsys.readouterr().err
