"""A run's file: defaults, and one sentence for what is wrong in it."""

from pathlib import Path

import pytest

from lowrank_demo.errors import UsageError
from lowrank_demo.train.config import read_config

DATA = '[data]\ntrain = "train.lmdb"\nvalidation = "val.lmdb"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_defaults_and_places(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, DATA + "[compress]\nlambda = 1\nepochs = 2\n"))
    assert config.data.train == tmp_path.resolve() / "train.lmdb"
    assert config.folder == tmp_path.resolve() / "run"
    assert (config.compress.lambda_, config.compress.epochs, config.compress.scheme) == (1.0, 2, "scheme_2")
    assert config.finetune.optimiser == "sgd"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"\[data\] lacks 'train'"),
        ("data = 3", r"\[data\] is 3"),
        ("[data", "is not TOML"),
        (DATA + "[finetune]\nepochs = 0", r"\[finetune\] epochs is 0"),
        (DATA + '[finetune]\nepochs = "many"', "epochs is 'many'; expected int"),
        (DATA + "[finetune]\nspeed = 1", "has 'speed'; expected one of: epochs"),
        (DATA + '[reference]\noptimiser = "adam"', "optimiser is 'adam'; expected one of sgd, adamw"),
        (DATA + '[compress]\nscheme = "scheme_3"', "scheme is 'scheme_3'"),
        (DATA + "[compress]\naugmented = 1", "augmented is 1; expected bool"),
        (DATA + "smallest_crop = 0", "smallest_crop is 0.0"),
        (DATA + "[extra]", "has 'extra'"),
        (DATA + '[output]\nformat = "int4"', "format is 'int4'"),
        (DATA + "lowest_quality = 99", "lowest_quality is 99; expected 0 to 95"),
        (DATA + "[finetune]\nearlier = 'preview/scheme_2/v5'", "has earlier but no share_of_start"),
        (DATA + "[finetune]\nshare_of_start = 1", "share_of_start is 1.0; expected at least 0, less than 1"),
        (DATA + "[finetune]\nfrozen_layers = 8", "frozen_layers is 8; expected 0 to 7"),
        (DATA + '[finetune]\nranks_of = "scheme_1/v4"', "ranks_of but no start"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_config(write(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
