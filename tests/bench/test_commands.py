"""The bench's smaller commands with wrong input: a sentence and the product's exit codes, before any work."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.bench import int8, pack


def test_pack_without_its_wheel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel, parts = tmp_path / "nvidia_dali_cuda110-*.whl", tmp_path / "parts"
    assert pack.main([str(wheel), str(parts)]) == 1
    assert (
        capsys.readouterr().err == f"pack: There is no {wheel}; expected DALI's wheel, from pip download --no-deps.\n"
    )
    wheel.write_text("no archive")
    assert pack.main([str(wheel), str(parts)]) == 1
    assert capsys.readouterr().err.startswith(f"pack: {wheel} is not a wheel; expected DALI's")
    assert not parts.exists()


def test_wrong_usage_ends_with_1_and_help_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert pack.main(["a.whl"]) == 1
    assert "arguments are required: folder" in capsys.readouterr().err
    assert pack.main(["--help"]) == 0


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript", "openvino"])
def test_int8_without_what_it_measures(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "tests.bench.int8")
    again = importlib.import_module("tests.bench.int8")  # it loads without
    assert again is not int8
    assert again.main(["--help"]) == 0
    capsys.readouterr()
    assert again.main(["a.lmdb", "b.lmdb"]) == 1
    assert capsys.readouterr().err == (
        f"int8: The package {package} is not installed; run `pip install -e '.[onnx,openvino]'`.\n"
    )


def test_int8_without_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert int8.main([str(tmp_path / "a.lmdb"), str(tmp_path / "b.lmdb")]) == 1
    assert "There is no LMDB file" in capsys.readouterr().err
