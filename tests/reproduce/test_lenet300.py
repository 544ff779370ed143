"""The LeNet300 experiment on a small scale, from files to table."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lowrank_demo.charts.lenet300 import lenet300_figure
from lowrank_demo.errors import DataError, UsageError
from lowrank_demo.lowrank.layers import survey
from lowrank_demo.reproduce import lenet300
from lowrank_demo.reproduce.idx import Digits, read_digits
from lowrank_demo.reproduce.lenet300 import reproduce, truncated_to
from lowrank_demo.reproduce.results import Results, Settings, read_results, write_results
from lowrank_demo.reproduce.table import table
from tests.helpers.commands import run
from tests.helpers.paths import ROOT

SETTINGS = Settings(reference_epochs=20, steps=20, step_epochs=2, finetune_epochs=10, lambdas=(4.0, 8.0))
DENSE = 784 * 300 + 300 * 100 + 100 * 10
X = torch.zeros(1, 784)


@pytest.fixture(scope="module")
def digits(mnist: Path) -> Digits:
    return read_digits(mnist)


@pytest.fixture(scope="module")
def whole(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return reproduce(digits, tmp_path_factory.mktemp("whole"), SETTINGS)


def test_learned_ranks_beat_truncation_at_the_same_cost(whole: Results) -> None:
    reference, *networks = whole.networks
    assert (reference.macs, reference.ranks) == (DENSE, {})
    assert reference.error < 8
    for learned, cut in zip(networks[::2], networks[1::2], strict=True):
        assert learned.lambda_ == cut.lambda_
        assert 0.7 * learned.macs < cut.macs <= learned.macs < DENSE / 2
        assert learned.error_before is not None
        assert cut.error_before is not None
        assert learned.error_before < cut.error_before, "LC leads to weights of low rank, before any fine-tuning"
        assert learned.error < reference.error + 4
    assert networks[2].macs < networks[0].macs, "a larger λ costs less"


def test_the_history_tells_how_the_ranks_settled(whole: Results) -> None:
    for history, learned in zip(whole.histories, whole.networks[1::2], strict=True):
        assert [step.step for step in history.steps] == list(range(SETTINGS.steps))
        last = history.steps[-1]
        assert {name: last.ranks[name] for name in learned.ranks} == learned.ranks
        assert (last.macs, last.error) == (learned.macs, learned.error_before)
        assert last.error < history.steps[0].error / 2


def test_costs_are_those_of_the_layers() -> None:
    network = lenet300.lenet300()
    assert survey(network, X).macs == DENSE
    cut = truncated_to(network, X, 100_000)
    ranks = {name: len(getattr(cut, name).V.weight) for name in ("fc1", "fc2")}
    macs = ranks["fc1"] * 1084 + ranks["fc2"] * 400 + 1000
    assert 90_000 < survey(cut, X).macs <= 100_000
    assert survey(cut, X).macs <= macs <= 100_000 + 1084, "fc3 is dense where factors cost more"
    lost = []
    for name in ranks:
        before, after = getattr(network, name).weight.detach(), getattr(cut, name).weight.detach()
        lost.append(float((before - after).square().sum() / before.square().sum()))
    assert lost[0] == pytest.approx(lost[1], abs=0.02), "the same share of energy in each layer"


def test_a_stopped_run_goes_on_to_the_same_results(
    whole: Results, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncate = lenet300.truncated_to
    calls: list[int] = []

    def stopped(network: torch.nn.Module, example: torch.Tensor, macs: int) -> torch.nn.Module:
        calls.append(macs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return truncate(network, example, macs)

    monkeypatch.setattr(lenet300, "truncated_to", stopped)
    with pytest.raises(KeyboardInterrupt):
        reproduce(digits, tmp_path, SETTINGS)
    assert read_results(tmp_path / "results.json").networks == whole.networks[:3]
    assert reproduce(digits, tmp_path, SETTINGS) == whole
    assert len(calls) == 3, "the first λ was not done again"
    assert reproduce(digits, tmp_path, SETTINGS) == whole
    assert len(calls) == 3
    with pytest.raises(UsageError, match=r"this one is on digits with .*steps=7.* Choose another folder"):
        reproduce(digits, tmp_path, dataclasses.replace(SETTINGS, steps=7))
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match=r"results\.json"):
        reproduce(digits, tmp_path, SETTINGS)


QUICK = Settings(reference_epochs=1, steps=2, step_epochs=1, finetune_epochs=1, lambdas=(4.0, 8.0))


def test_results_do_not_depend_on_the_reference_once_they_are_whole(digits: Digits, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    whole = reproduce(digits, folder, QUICK)
    reference = folder / "reference.pt"
    kept = reference.read_bytes()
    reference.unlink()
    assert reproduce(digits, folder, QUICK) == whole
    some = dataclasses.replace(whole, networks=whole.networks[:3], histories=whole.histories[:1])
    write_results(some, folder / "results.json")
    with pytest.raises(UsageError, match=r"There is no .*reference\.pt; expected the network that the results in"):
        reproduce(digits, folder, QUICK)
    for damaged in (b"", kept[:500], (folder / "results.json").read_bytes()):
        reference.write_bytes(damaged)
        with pytest.raises(DataError, match=r"reference\.pt is damaged, or not LeNet300's weights; put the right"):
            reproduce(digits, folder, QUICK)
    torch.save({"fc1.weight": torch.zeros(2, 2)}, reference)
    with pytest.raises(DataError, match=r"reference\.pt is damaged"):
        reproduce(digits, folder, QUICK)
    assert read_results(folder / "results.json") == some, "nothing is lost"
    reference.write_bytes(kept)
    assert reproduce(digits, folder, QUICK) == whole


def test_a_folder_that_cannot_be_made_is_refused_before_any_training(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim, "SGD", pytest.fail)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/results cannot be written \(.*\); choose another place"):
        reproduce(digits, tmp_path / "file" / "results", QUICK)


def test_a_full_disk_is_one_sentence(mnist: Path, tmp_path: Path) -> None:
    """The reference takes a megabyte."""
    command = ["-m", "lowrank_demo", "train", "lenet300", "--data", str(mnist), "--to", str(tmp_path / "out")]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh", sys.executable, *command, "--scale", "0.001"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert re.search(r"reference\.pt could not be written \(.*\); free space, then the same command continues", last)
    assert "Traceback" not in done.stderr


def test_the_table_and_the_figure(whole: Results) -> None:
    lines = table(whole).splitlines()
    assert len(lines) == 2 + 5
    assert re.fullmatch(r"\| +\| reference \| dense \| 266,200 \| 266,610 \| +\| \d\.\d\d % \|", lines[2])
    assert re.match(r"\| 4 \| learned \| \d+, \d+, (\d+|dense) \| [\d,]+ \(÷ \d+\.\d\) \|", lines[3])
    drawn = lenet300_figure(whole)
    assert [len(trace["x"]) for trace in drawn.to_dict()["data"]] == [2, 2]


def test_the_command(mnist: Path, tmp_path: Path) -> None:
    done = run("train", "lenet300", "--data", str(mnist), "--to", str(tmp_path / "out"), "--scale", "0.001")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "of 261,600 images" in done.stderr
    assert "Plotly.newPlot" in (tmp_path / "out" / "figure.html").read_text(encoding="utf-8")
    for arguments, sentence in (
        (["--scale", "0"], "--scale is 0; expected a share of the epochs, above 0 and at most 1."),
        (["--data", str(tmp_path)], "There is no train-images-idx3-ubyte"),
    ):
        refused = run("train", "lenet300", "--to", str(tmp_path / "out"), *arguments)
        assert refused.returncode == 1
        assert sentence in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
