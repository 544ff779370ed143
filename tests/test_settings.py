"""The environment: defaults, and errors that name the variable."""

import dataclasses
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("LOWRANK_MAX_MODELS_MB", "9" * 5000),
        ("LOWRANK_CACHE_DIR", "/dev/null/cache"),
        ("LOWRANK_MODELS_DIR", "/nowhere"),
        ("LOWRANK_MODELS_DIR", "~nobody-of-this-name"),
        ("LOWRANK_LMDB_DIR", "x" * 5000),
        ("LOWRANK_ZOO", "\udcff"),
    ],
)
def test_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name} is .*; expected .*") as caught:
        Settings.from_environment({name: value})
    assert len(str(caught.value)) < 300


def test_the_sentence() -> None:
    for name, value, sentence in (
        ("LOWRANK_THREADS", "0", 'LOWRANK_THREADS is "0"; expected 1 to 256.'),
        ("LOWRANK_THREADS", "many", 'LOWRANK_THREADS is "many"; expected a whole number.'),
        ("LOWRANK_HUB_REPO", "me", 'LOWRANK_HUB_REPO is "me"; expected a repository as owner/name.'),
        ("LOWRANK_ENGINE", "jax", 'LOWRANK_ENGINE is "jax"; expected "torch" or "openvino".'),
        ("LOWRANK_LMDB_DIR", "/no", 'LOWRANK_LMDB_DIR is "/no"; expected an existing folder.'),
    ):
        with pytest.raises(SettingError) as caught:
            Settings.from_environment({name: value})
        assert str(caught.value) == sentence


@settings(deadline=None)
@given(
    st.sampled_from([f"LOWRANK_{field.name.upper()}" for field in dataclasses.fields(Settings)]),
    st.text()
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(["cuda:1", "a/b", "/tmp", "~", "DALI-CPU"]),
)
def test_any_value_of_any_variable_is_settings_or_a_setting_error(name: str, value: str) -> None:
    try:
        Settings.from_environment({name: value})
    except SettingError as error:
        assert str(error).startswith(f"{name} is ")


def test_defaults(tmp_path: Path) -> None:
    settings = Settings.from_environment({"HOME": str(tmp_path)})
    assert settings.cache_dir == tmp_path / ".cache" / "lowrank-alexnet"
    assert settings.threads == usable_cpus()
    assert (settings.device, settings.decoder, settings.hub_repo) == ("auto", "auto", None)
    assert list(tmp_path.iterdir()) == [], "reading the settings makes nothing"


def test_home_that_cannot_be_written_means_tmp() -> None:
    settings = Settings.from_environment({"HOME": "/dev/null"})
    assert settings.cache_dir.parent == Path(tempfile.gettempdir())


def test_a_folder_in_tmp_that_others_can_write_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Settings.from_environment({"HOME": "/dev/null"}).cache_dir
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o777)
    with pytest.raises(
        SettingError, match="belongs to another user or can be written by others; set LOWRANK_CACHE_DIR"
    ):
        Settings.from_environment({"HOME": "/dev/null"})
    Settings.from_environment({"HOME": "/dev/null", "LOWRANK_CACHE_DIR": str(tmp_path)})
    made.rmdir()
    made.symlink_to(tmp_path)
    with pytest.raises(SettingError, match="belongs to another user"):
        Settings.from_environment({"HOME": "/dev/null"})


def test_empty_value_means_unset() -> None:
    assert Settings.from_environment({"LOWRANK_DECODER": " ", "LOWRANK_HUB_REPO": ""}).decoder == "auto"


def test_a_name_that_is_no_setting() -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({"LOWRANK_DEVCE": "cpu", "LOWRANK_DEVICE": "cpu"})
    found, expected = str(caught.value).split("; expected one of: ")
    assert found == "LOWRANK_DEVCE is not a setting"
    assert expected.removesuffix(".").split(", ") == [f"LOWRANK_{f.name.upper()}" for f in dataclasses.fields(Settings)]
    assert Settings.from_environment({"LOWRANK_DEVCE": "", "DEVICE": "tpu"}).device == "auto"


def test_openvino_is_for_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings.from_environment({"LOWRANK_ENGINE": "openvino", "LOWRANK_PRECISION": "bf16"})
    assert chosen.arithmetic == Arithmetic("openvino", "bf16")
    assert choose_device(chosen).type == "cpu"
    with pytest.raises(SettingError, match=r"openvino, .*, but LOWRANK_DEVICE is cuda:1; set .* to cpu"):
        Settings.from_environment({"LOWRANK_ENGINE": "openvino", "LOWRANK_DEVICE": "cuda:1"})
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SettingError, match="openvino, which is not installed; run `pip install openvino`, or"):
        Settings.from_environment({"LOWRANK_ENGINE": "openvino"})
