"""Small figures as SVG, in the page's own colours: curves over two axes. Classes are styled by the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

WIDTH, HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 20, 12, 38


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high``, linear or logarithmic."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    title: str
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Curve:
    """A line with its CSS class, and a label at one of its points."""

    points: Sequence[tuple[float, float]]
    kind: str = ""
    label: str = ""
    label_at: int = -1
    anchor: str = "start"


def chart(title: str, x: Axis, y: Axis, curves: Sequence[Curve], dots: Sequence[tuple[float, float, str]] = ()) -> str:
    """Draw curves and labelled dots.

    Args:
        title: What the figure shows, for those who cannot see it.
        x: The horizontal axis.
        y: The vertical axis.
        curves: The lines, the last on top.
        dots: Places, each with its label.
    """
    at = partial(place, x, y)
    parts: list[str] = []
    for value, name in x.ticks:
        across, bottom = at((value, y.low))
        parts.append(f'<line class="grid" x1="{across}" x2="{across}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(text(across, bottom + 13, name, "middle"))
    for value, name in y.ticks:
        left, up = at((x.low, value))
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - _RIGHT}" y1="{up}" y2="{up}"/>')
        parts.append(text(left - 5, up + 4, name, "end"))
    parts.append(text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, x.title, "middle"))
    middle = (HEIGHT - _BOTTOM + _TOP) / 2
    parts.append(f'<text x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">{y.title}</text>')
    for curve in curves:
        line = " ".join(f"{a},{b}" for a, b in map(at, curve.points))
        parts.append(f'<polyline class="{curve.kind}" points="{line}"/>')
    for curve in curves:
        a, b = at(curve.points[curve.label_at])
        parts.append(text(a, b - 5, curve.label, curve.anchor, curve.kind) if curve.label else "")
    for across, up, name in dots:
        a, b = at((across, up))
        parts.append(f'<circle cx="{a}" cy="{b}" r="5"/>{text(a + 9, b + 14, name, kind="strong")}')
    return svg(title, "".join(parts))


def place(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    """Return where a chart with these axes draws a point."""
    across = _LEFT + x.share(point[0]) * (WIDTH - _LEFT - _RIGHT)
    return round(across, 1), round(HEIGHT - _BOTTOM - y.share(point[1]) * (HEIGHT - _TOP - _BOTTOM), 1)


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Return a text at a place."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def svg(title: str, inside: str, height: int = HEIGHT) -> str:
    """Return a figure of the common width."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{inside}</svg>'
