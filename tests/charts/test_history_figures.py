"""What the figures of a rank history show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lowrank_demo.charts.history import cost_history_figure, rank_history_figure
from lowrank_demo.lowrank.history import RankHistory, read_history
from lowrank_demo.models.architecture import LAYERS, full_rank
from tests.helpers.examples import HISTORY


@pytest.fixture
def history(tmp_path: Path) -> RankHistory:
    path = tmp_path / "history.json"
    path.write_text(json.dumps(HISTORY))
    return read_history(path)


def test_ranks_of_every_layer_and_step(history: RankHistory) -> None:
    traces = rank_history_figure(history).to_plotly_json()["data"]
    assert [trace["name"] for trace in traces] == [layer.name for layer in LAYERS]
    for index, (layer, trace) in enumerate(zip(LAYERS, traces, strict=True)):
        ranks = [step.ranks[index] for step in history.steps]
        assert list(trace["x"]) == [0, 1, 2]
        assert list(trace["y"]) == pytest.approx([100 * rank / full_rank(layer, "scheme_2") for rank in ranks])
        assert [row[0] for row in trace["customdata"]] == ranks


def test_an_older_history_shows_the_dense_networks_error_where_it_was_measured(history: RankHistory) -> None:
    figure = cost_history_figure(history).to_plotly_json()
    macs, error = figure["data"]
    assert list(macs["y"]) == [step.macs / 1e6 for step in history.steps]
    assert (list(error["x"]), list(error["y"])) == ([0, 1], [60.5, 58.0])
    assert "before factoring" in error["hovertemplate"]
    assert not figure["layout"].get("shapes")


def test_the_compressed_networks_error_and_the_step_that_was_kept(history: RankHistory) -> None:
    steps = tuple(
        replace(step, top1_error=None, compressed_error=error)
        for step, error in zip(history.steps, (90.0, 45.0, 44.0), strict=True)
    )
    figure = cost_history_figure(replace(history, steps=steps, best=1)).to_plotly_json()
    error = figure["data"][1]
    assert (list(error["x"]), list(error["y"])) == ([0, 1, 2], [90.0, 45.0, 44.0])
    assert "of the compressed network" in error["hovertemplate"]
    (line,) = figure["layout"]["shapes"]
    assert line["x0"] == line["x1"] == 1
