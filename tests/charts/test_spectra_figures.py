"""The figures of a truncation: a frame turns them into those of another."""

from __future__ import annotations

import itertools

import plotly.graph_objects as go
import torch

from lowrank_demo.charts.spectra import Change, frame, path_figure, ranks_kept_figure, spectra_figure
from lowrank_demo.lowrank.spectra import Spectra


def applied(figure: go.Figure, change: Change) -> str | None:
    traces, layout, indices = change
    for key, values in traces.items():
        for index, value in zip(indices, values, strict=True):
            figure.data[index][key] = value
    figure.update_layout({key.replace("[", "_").replace("].", "_"): value for key, value in layout.items()})
    return figure.to_json()


def test_a_frame_makes_the_figures_of_another_truncation() -> None:
    spectra = Spectra("scheme_2", tuple(torch.arange(rank, 0, -1.0) for rank in range(5, 13)))
    path = spectra.path([1e-9, 1e-5, 1.0], 0.01)
    assert path[2].ranks == (0,) * 8, "a layer that is dropped is drawn too"
    for before, after in itertools.pairwise(path):
        kept, last, line = frame(spectra, after)
        assert applied(ranks_kept_figure(spectra, before), kept) == ranks_kept_figure(spectra, after).to_json()
        assert applied(spectra_figure(spectra, before), last) == spectra_figure(spectra, after).to_json()
        assert applied(path_figure(spectra, path, before), line) == path_figure(spectra, path, after).to_json()
