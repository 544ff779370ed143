"""A run's file: defaults, and one sentence for what is wrong in it."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_demo.errors import UsageError
from lowrank_demo.train.config import CompressConfig, DataConfig, FinetuneConfig, OutputConfig, read_config
from tests.helpers.paths import ROOT

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
        ("", r'\[data\] lacks "train"'),
        ("data = 3", "data is 3; expected keys and values"),
        ("[data", "is not TOML"),
        (DATA + "[finetune]\nepochs = 0", r"\[finetune\]: epochs is 0; expected at least 1"),
        (DATA + '[finetune]\nepochs = "many"', 'epochs is "many"; expected a whole number'),
        (DATA + "[finetune]\nspeed = 1", 'has "speed"; expected one of: epochs'),
        (DATA + '[reference]\noptimiser = "adam"', 'optimiser is "adam"; expected "sgd" or "adamw"'),
        (DATA + '[compress]\nscheme = "scheme_3"', 'scheme is "scheme_3"'),
        (DATA + "[compress]\naugmented = 1", "augmented is 1; expected true or false"),
        (DATA + "smallest_crop = 0", "smallest_crop is 0; expected more than 0, at most 1"),
        (DATA + "[extra]", 'has "extra"'),
        (DATA + "[compress]\nsteps = 9000", r"mu_growth is 1.2; expected a factor .* all 9,000 steps"),
        (DATA + '[output]\nformat = "int4"', 'format is "int4"'),
        (
            DATA + "[finetune]\nteacher = 'scheme_1/v1'\nanswers = 'answers.npy'",
            r"\[finetune\]: teacher and answers are both teachers; leave one out",
        ),
        (DATA + "[finetune]\nfrozen_layers = 8", "frozen_layers is 8; expected 0 to 7"),
        (
            DATA + "[finetune]\nstart = 'scheme_2/v1'\nranks_of = ['scheme_2/v5']\nfrozen_layers = 1",
            "frozen_layers goes with one model; a list in ranks_of trains every layer",
        ),
        (
            DATA + "[finetune]\nstart = 'scheme_2/v1'\nranks_of = ['scheme_2/v5']\nweight_decay_of = 'product'",
            'weight_decay_of = "product" goes with one model, not with a list in ranks_of',
        ),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_config(write(tmp_path, text))


@pytest.mark.parametrize(
    ("section", "line", "expected"),
    [
        ("data", "batch_size = 0", "at least 1"),
        ("data", "batch_size = true", "a whole number"),
        ("data", "workers = -1", "0 to 256"),
        ("data", "workers = 2.0", "a whole number"),
        ("data", "smallest_crop = nan", "a finite number"),
        ("data", "colour = -0.1", "0 to 1"),
        ("data", "colour = 1.5", "0 to 1"),
        ("data", "views = -1", "0 to 1,000"),
        ("data", "flip = 'yes'", "true or false"),
        ("reference", "ema = 1.5", "at least 0, less than 1"),
        ("reference", "ema = 1", "at least 0, less than 1"),
        ("reference", "ema = -0.5", "at least 0, less than 1"),
        ("reference", "teacher_weight = 7", "0 to 1"),
        ("reference", "teacher_weight = -0.5", "0 to 1"),
        ("reference", "temperature = 0", "more than 0"),
        ("reference", "temperature = -inf", "a finite number"),
        ("reference", "learning_rate = inf", "a finite number"),
        ("reference", "learning_rate = -0.1", "more than 0"),
        ("reference", "learning_rate = '0.1'", "a number"),
        ("reference", "learning_rate = true", "a number"),
        ("reference", "momentum = -0.9", "at least 0, less than 1"),
        ("reference", "momentum = 1.0", "at least 0, less than 1"),
        ("reference", "weight_decay = -0.0001", "at least 0"),
        ("reference", "warmup_epochs = -1", "at least 0"),
        ("reference", "warmup_epochs = nan", "a finite number"),
        ("reference", "label_smoothing = 1", "at least 0, less than 1"),
        ("reference", "clip = -5", "at least 0"),
        ("reference", "teacher = 5", "a string"),
        ("finetune", "ema = 1.5", "at least 0, less than 1"),
        ("compress", "criterion = 'time'", '"flops" or "storage"'),
        ("compress", "lambda = -1", "at least 0"),
        ("compress", "steps = 0", "1 to 100,000"),
        ("compress", "steps = 1000000000", "1 to 100,000"),
        ("compress", "first_mu = 0", "1e-30 to 1e+30"),
        ("compress", "first_mu = 1e300", "1e-30 to 1e+30"),
        ("compress", "first_mu = nan", "a finite number"),
        ("compress", "mu_growth = -1.2", "more than 0"),
        (
            "compress",
            "mu_growth = 1e300",
            "a factor that keeps μ between 1e-30 and 1e+30 for all 30 steps from first_mu = 0.001",
        ),
        (
            "compress",
            "mu_growth = 0.001",
            "a factor that keeps μ between 1e-30 and 1e+30 for all 30 steps from first_mu = 0.001",
        ),
        ("compress", "mu_repeats = 0", "1 to 100"),
        ("compress", "cost = 'paper'", '"true" or "original"'),
        ("compress", "decay_restarts = 1", "true or false"),
        ("data", "crop = 'random'", '"resized" or "shifted"'),
        ("reference", "initialisation = 'zero'", '"torch" or "xavier"'),
        ("finetune", "weight_decay_of = 'all'", '"factors" or "product"'),
        ("reference", "learning_rate_decay = 1.01", "0 to 1"),
        ("compress", "learning_rate_decay = 1.01", "more than 0, at most 1"),
        ("compress", "learning_rate_decay = 0", "more than 0, at most 1"),
        ("finetune", "workers = 1", None),
        ("finetune", "dropout = 1", "at least 0, less than 1"),
        ("teach", "precision = 'fp16'", '"fp32" or "bf16"'),
        ("finetune", "calibration = -1", "0 to 4,096"),
        ("output", "family = '../mine'", "lower-case letters, digits, '_', '.' and '-'"),
        ("output", "version = ''", "lower-case letters, digits, '_', '.' and '-'"),
    ],
)
def test_wrong_values(tmp_path: Path, section: str, line: str, expected: str | None) -> None:
    key = line.split()[0]
    start = "" if section == "data" else f"[{section}]\n"
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, f"{DATA}{start}{line}"))
    if expected is None:
        assert str(caught.value).startswith(f'run.toml, [{section}] has "{key}"; expected one of: ')
    else:
        assert str(caught.value).startswith(f"run.toml, [{section}]: {key} is ")
        assert str(caught.value).endswith(f"; expected {expected}.")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[compress]\nwarmup_epochs = 1", "warmup_epochs is not a key of this section; use learning_rate_decay."),
        ("[compress]\nwarmup_epochs = 0", "warmup_epochs is not a key of this section; use learning_rate_decay."),
        (
            "[compress]\nema = 0.999",
            "ema is not a key of this section: ranks are chosen from the weights themselves; leave it out.",
        ),
        ("[finetune]\nranks_of = 'scheme_1/v4'", "ranks_of needs start; set both."),
        (
            "[finetune]\nstart = ['scheme_1/v4', 'scheme_1/v3']",
            'ranks_of is ""; expected a list of 2 ids, as start is.',
        ),
    ],
)
def test_keys_that_do_not_go_together(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, DATA + text))
    assert str(caught.value) == f"run.toml, {text.partition(chr(10))[0]}: {sentence}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[data]\ntrain = 'a'\ntrain = 'b'\n", '"train" twice, again in line 3'),
        ("[data]\ntrain = 'a'\ntrain = 'b'", '"train" twice, again in line 3'),
        (DATA + "\n[data] # more\n", '"[data]" twice, again in line 5'),
        ("seed = 1\nseed = [\n1]", "a key twice, again in line 3"),
        ("data = {train = 'a', train = 'b'}", "a key twice, again in line 1"),
    ],
)
def test_a_key_that_stands_twice(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, text))
    assert str(caught.value) == f"run.toml has {found}; expected each key only once: remove one of them."


@pytest.mark.parametrize("line", ["seed = -1", "seed = 0.5", "seed = true", "folder = 3", 'folder = "a\\u0000b"'])
def test_wrong_values_of_the_whole_run(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=rf"run\.toml: {line.split()[0]} is .*; expected "):
        read_config(write(tmp_path, f"{line}\n{DATA}"))


def test_an_infinite_number_is_shown_as_the_file_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lambda is inf; expected a finite number"):
        read_config(write(tmp_path, DATA + "[compress]\nlambda = inf"))


def test_lambda_is_listed_as_the_file_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'\[compress\] has "lambda_"; .*criterion, lambda, cost, normalised'):
        read_config(write(tmp_path, DATA + "[compress]\nlambda_ = 1"))


def test_a_key_that_is_refused_is_not_listed(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, DATA + "[compress]\nwarmup = 1"))
    assert "learning_rate_decay" in str(caught.value)
    assert "warmup_epochs" not in str(caught.value)
    assert "ema" not in re.findall(r"\w+", str(caught.value))


VALUES = st.recursive(
    st.sampled_from(["true", "false", "1979-05-27", "{a = 1}", "nan", "inf", "0xFFFFFFFF", "''"])
    | st.integers().map(str)
    | st.floats().map(repr)
    | st.text().map(json.dumps),
    lambda inner: st.lists(inner).map(lambda values: f"[{', '.join(values)}]"),
)
KEYS = [
    (section, field.name.rstrip("_"))
    for section, kind in (
        ("data", DataConfig),
        ("compress", CompressConfig),
        ("finetune", FinetuneConfig),
        ("output", OutputConfig),
    )
    for field in dataclasses.fields(kind)
]


@settings(deadline=None)
@given(st.sampled_from(KEYS), VALUES)
def test_any_value_of_any_key_is_a_run_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, key: tuple[str, str], value: str
) -> None:
    section, name = key
    data = "" if name in ("train", "validation") else DATA
    start = "" if section == "data" and data else f"[{section}]\n"
    try:
        read_config(write(tmp_path_factory.getbasetemp(), f"{data}{start}{name} = {value}"))
    except UsageError as error:
        assert "run.toml" in str(error)
        assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = " + "[" * 100_000, "has brackets that are nested too deeply; expected a run's TOML file"),
        ("seed = " + "9" * 5_000, "has a number of more than 4,300 digits; expected a shorter one"),
        ("seed = 0x" + "f" * 5_000, "seed is a number that is too long to show; expected at least 0, less than"),
        ("\0", "is not TOML"),
    ],
)
def test_absurd_files(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=rf"^run\.toml:? {sentence}"):
        read_config(write(tmp_path, f"{text}\n{DATA}"))


def test_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"run\.toml is not text in UTF-8; expected .*: save it as UTF-8"):
        read_config(path)


@pytest.mark.parametrize("path", sorted((ROOT / "assets" / "preview").glob("*.toml")), ids=lambda path: path.name)
def test_this_projects_own_runs(path: Path) -> None:
    config = read_config(path)
    crops = config.data
    # What is kept of one step's crops is used in the next.
    assert (crops.smallest_crop, crops.flip, crops.colour, crops.views, config.seed) == (0.4, True, 0.0, 1, 0)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no .*none\.toml; expected a run's TOML file"):
        read_config(tmp_path / "none.toml")
