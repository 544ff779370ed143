"""The LeNet300 experiment on a small scale, from files to table."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from lowrank_demo.charts.lenet300 import lenet300_figure
from lowrank_demo.errors import DataError, UsageError
from lowrank_demo.lowrank.layers import survey
from lowrank_demo.reproduce import lenet300
from lowrank_demo.reproduce.idx import Digits, read_digits
from lowrank_demo.reproduce.lenet300 import reproduce, truncated_to
from lowrank_demo.reproduce.results import Results, Settings, read_results
from lowrank_demo.reproduce.table import table
from tests.helpers.commands import run

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
