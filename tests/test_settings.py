"""The environment: defaults, and errors that name the variable."""

import sys
import tempfile
from pathlib import Path

import pytest

from lowrank_demo.decode.choose import choose_device
from lowrank_demo.errors import SettingError
from lowrank_demo.settings import Arithmetic, Settings, usable_cpus


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOWRANK_HUB_REPO", "no-slash"),
        ("LOWRANK_HUB_REPO", "a/b/c"),
        ("LOWRANK_ZOO", "/nowhere/zoo.json"),
        ("LOWRANK_DEVICE", "tpu"),
        ("LOWRANK_DEVICE", "cuda:x"),
        ("LOWRANK_DECODER", "opencv"),
        ("LOWRANK_ENGINE", "tensorrt"),
        ("LOWRANK_PRECISION", "int8"),
        ("LOWRANK_THREADS", "0"),
        ("LOWRANK_THREADS", "many"),
        ("LOWRANK_MAX_PHOTOS", "-3"),
        ("LOWRANK_MAX_MEGAPIXELS", "1e9"),
        ("LOWRANK_CACHE_DIR", "/dev/null/cache"),
    ],
)
def test_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_environment({name: value})


def test_defaults(tmp_path: Path) -> None:
    settings = Settings.from_environment({"HOME": str(tmp_path)})
    assert settings.cache_dir == tmp_path / ".cache" / "lowrank-alexnet"
    assert settings.threads == usable_cpus()
    assert (settings.device, settings.decoder, settings.hub_repo) == ("auto", "auto", None)
    assert list(tmp_path.iterdir()) == [], "reading the settings makes nothing"


def test_home_that_cannot_be_written_means_tmp() -> None:
    settings = Settings.from_environment({"HOME": "/dev/null"})
    assert settings.cache_dir.parent == Path(tempfile.gettempdir())


def test_empty_value_means_unset() -> None:
    assert Settings.from_environment({"LOWRANK_DECODER": " ", "LOWRANK_HUB_REPO": ""}).decoder == "auto"


def test_openvino_is_for_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings.from_environment({"LOWRANK_ENGINE": "openvino", "LOWRANK_PRECISION": "bf16"})
    assert chosen.arithmetic == Arithmetic("openvino", "bf16")
    assert choose_device(chosen).type == "cpu"
    with pytest.raises(SettingError, match="LOWRANK_DEVICE is cuda:1; set it to cpu"):
        Settings.from_environment({"LOWRANK_ENGINE": "openvino", "LOWRANK_DEVICE": "cuda:1"})
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SettingError, match=r"not installed; expected torch, or `pip install -e '.\[openvino\]'`"):
        Settings.from_environment({"LOWRANK_ENGINE": "openvino"})
