"""A recorded run of the LC algorithm that can be played: ranks and error of the compressed network as μ grows."""

from __future__ import annotations

import json
import math
from html import escape

from ..charts.drawing import WIDTH, Axis, Curve, chart, place, svg, text
from ..reproduce.results import FULL_RANKS, LEARNED, TRUNCATED, LcStep, Results

_BAR, _ROW, _LEFT, _RIGHT = 16, 26, 44, 96
"""Height of a bar, of its row, and the space beside it, in units of the drawing."""

PLAY = """
const show = (box, number) => {
  const step = JSON.parse(box.dataset.steps)[number];
  box.querySelectorAll('rect.linear').forEach((bar, layer) => { bar.setAttribute('width', step.bars[layer]); });
  box.querySelectorAll('text.rank').forEach((words, layer) => { words.textContent = step.ranks[layer]; });
  const dot = box.querySelector('circle');
  dot.setAttribute('cx', step.dot[0]);
  dot.setAttribute('cy', step.dot[1]);
  box.querySelector('output').textContent = step.text;
  const input = box.querySelector('input');
  input.value = number;
  input.setAttribute('aria-valuetext', step.text);
};
let timer = null;
const stop = (box) => {
  clearInterval(timer);
  timer = null;
  box.querySelector('button').textContent = 'Play';
};
element.addEventListener('input', ({ target }) => {
  const box = target.closest('.lr-run');
  if (!box) return;
  stop(box);
  show(box, Number(target.value));
});
element.addEventListener('click', ({ target }) => {
  const box = target.closest('.lr-run');
  if (!box || target.tagName !== 'BUTTON') return;
  if (timer) { stop(box); return; }
  const input = box.querySelector('input'), last = Number(input.max);
  if (Number(input.value) === last) show(box, 0);
  target.textContent = 'Stop';
  timer = setInterval(() => {
    // The visitor may have left the tab, and Gradio taken the drawing away.
    if (!box.isConnected) { clearInterval(timer); timer = null; return; }
    show(box, Number(input.value) + 1);
    if (Number(input.value) === last) stop(box);
  }, 400);
});
"""
"""Script of the component that holds :func:`run_view`."""


def run_view(results: Results) -> str:
    """Return the run of the largest λ with its controls: a button, and a slider for the step."""
    history = results.histories[-1]
    steps = history.steps
    reference = results.networks[0].error
    errors = [reference, *(step.error for step in steps)]
    least, most = math.floor(min(errors)) - 1, math.ceil(max(errors))
    x = Axis(0, len(steps) - 1, [(0, "0"), (len(steps) - 1, str(len(steps) - 1))], "LC step; μ grows to the right")
    y = Axis(least, most, [(least, str(least)), (most, str(most))], "test error, %")
    line = [(number, step.error) for number, step in enumerate(steps)]
    level = [(0, reference), (len(steps) - 1, reference)]
    curves = [Curve(level, "price", "dense reference", 0), Curve(line, "linear")]
    frames = [
        {
            "text": _text(results.data, step),
            "bars": [_bar(name, step) for name in FULL_RANKS],
            "ranks": [_rank(name, step) for name in FULL_RANKS],
            "dot": place(x, y, line[number]),
        }
        for number, step in enumerate(steps)
    ]
    drawing = _bars(steps[-1]) + chart("Test error after each LC step", x, y, curves, [(*line[-1], "")])
    return (
        f'<div class="lr-run" data-steps="{escape(json.dumps(frames))}"><p><button type="button">Play</button>'
        f'<input type="range" min="0" max="{len(steps) - 1}" value="{len(steps) - 1}" aria-label="LC step"></p>'
        f"{drawing}<output>{frames[-1]['text']}</output></div>"
    )


def run_caption(results: Results) -> str:
    """Return what the run is, and what learning gains over cutting at the same cost."""
    history = results.histories[-1]
    trained = {one.method: one for one in results.networks if one.lambda_ == history.lambda_}
    learned, cut = trained[LEARNED], trained[TRUNCATED]
    return (
        f"LeNet300 on {escape(results.data)}, λ = {history.lambda_:g} for each million FLOPs. The network with learned "
        f"ranks has {learned.macs:,} MACs. It is wrong on {learned.error_before:.2f} % of the test images, and on "
        f"{learned.error:.2f} % after fine-tuning; one that SVD cuts to {cut.macs:,} MACs, on {cut.error_before:.2f} % "
        f"and {cut.error:.2f} %."
    )


def _bars(step: LcStep) -> str:
    parts: list[str] = []
    for row, name in enumerate(FULL_RANKS):
        top = 4 + _ROW * row
        parts.append(text(_LEFT - 8, top + 12, name, "end"))
        parts.append(f'<rect class="track" x="{_LEFT}" y="{top}" width="{WIDTH - _LEFT - _RIGHT}" height="{_BAR}"/>')
        parts.append(f'<rect class="linear" x="{_LEFT}" y="{top}" width="{_bar(name, step)}" height="{_BAR}"/>')
        parts.append(text(WIDTH - _RIGHT + 8, top + 12, _rank(name, step), kind="rank"))
    return svg("Rank of each layer", "".join(parts), 4 + _ROW * len(FULL_RANKS))


def _bar(name: str, step: LcStep) -> float:
    return round((WIDTH - _LEFT - _RIGHT) * step.ranks[name] / FULL_RANKS[name], 1)


def _rank(name: str, step: LcStep) -> str:
    return f"{step.ranks[name]} of {FULL_RANKS[name]}"


def _text(data: str, step: LcStep) -> str:
    return f"Step {step.step}, μ = {step.mu:.2g}: {step.macs:,} MACs; {step.error:.2f} % error on {data}'s test images."
