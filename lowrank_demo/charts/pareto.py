"""The trade-off plot: what a network costs against how often it errs, for models measured on one set of photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

import plotly.graph_objects as go

from ..models.architecture import LAYERS
from ..models.cards import FAMILY_WORDS, ModelCard, scheme_title
from ..models.zoo import Zoo
from ..runtime.interval import wilson
from ..runtime.words import counted
from .points import PhotoSet, Point
from .style import CHOSEN, GREY, SCHEME_COLOURS, styled

if TYPE_CHECKING:
    from ..classify.latency import Latency

Metric = Literal["top1", "top5"]
METRIC_NAMES: dict[Metric, str] = {"top1": "top-1", "top5": "top-5"}
Saving = Literal["mflops", "params", "megabytes", "latency"]
SAVING_NAMES: dict[Saving, str] = {
    "mflops": "MFLOPs",
    "params": "millions of parameters",
    "megabytes": "megabytes of float32 weights",
    "latency": "ms for one image, measured here",
}
_SHORT: dict[Saving, str] = {"mflops": "MFLOPs", "params": "parameters", "megabytes": "size", "latency": "time"}
_UNITS: dict[Saving, str] = {"mflops": "", "params": "M parameters", "megabytes": "MB", "latency": "ms"}
_MFLOPS = (90, 790)
"""The x axis of the published plot: from the most compressed model to the uncompressed one."""
_LINE = 44
"""Letters of the subtitle that fit the width of a phone."""
_DASHES: tuple[str, ...] = ("solid", "dash", "dot")

_Cost = Callable[[ModelCard], "float | None"]


def pareto_figure(
    zoo: Zoo,
    photos: PhotoSet | None,
    metric: Metric,
    chosen: ModelCard | None = None,
    saving: Saving = "mflops",
    latencies: Mapping[str, Latency] | None = None,
) -> go.Figure:
    """Draw a point for each model that was measured on one set; its ``customdata`` is the model's id, for clicks.

    Args:
        zoo: Has the models' names and costs, and the uncompressed reference.
        photos: The set; None if nothing was measured.
        metric: The error on the y axis.
        chosen: The card to mark.
        saving: The cost on the x axis.
        latencies: Model id -> measured time, for the cost ``latency``; models without one are left out.
    """
    known = latencies or {}

    def x_of(card: ModelCard) -> float | None:
        if saving == "mflops":
            return zoo.mflops(card)
        if saving == "latency":
            return known[card.id].median if card.id in known else None
        return card.cost.params / 1e6 if saving == "params" else card.cost.fp32_bytes / 1e6

    figure = go.Figure()
    title = f"{METRIC_NAMES[metric].capitalize()} error against {_SHORT[saving]}"
    figure.update_xaxes(title=SAVING_NAMES[saving], rangemode="tozero" if saving == "latency" else "normal")
    figure.update_yaxes(title=f"{METRIC_NAMES[metric]} error, %")
    if photos is None or not photos.points:
        return _empty(styled(figure, title, height=180))
    drawn = [point for point in photos.points if x_of(point.card) is not None]
    for (scheme, family, cut), points in _lines(drawn).items():
        _line(figure, zoo, photos, metric, x_of, saving, scheme, family, cut, points, known)
    if photos.published and saving == "mflops":
        _reference(figure, zoo, metric)
        _headline(figure, zoo, photos, metric)
        low, high = _MFLOPS
        figure.update_xaxes(range=[min(low, zoo.mflops(chosen) - 15) if chosen else low, high])
    elif saving == "mflops":
        costs = [zoo.mflops(point.card) for point in drawn]
        costs += [zoo.mflops(chosen)] if chosen else []
        figure.update_xaxes(range=[max(0, min(costs) - 40), max(costs) + 40])
    marked_above = chosen is not None and _mark(figure, photos, chosen, metric, x_of)
    _better(figure)
    lines = _subtitle(photos)
    small = " <br>".join(f"<span style='font-size:12px'>{escape(line)}</span>" for line in lines)
    top = 48 + 16 * len(lines) + 30 * marked_above
    styled(figure, f"{title} <br>{small}", height=520)
    return figure.update_layout(margin={"t": top}, title={"y": 0.97}, meta={"label": "version"})


def _subtitle(photos: PhotoSet) -> list[str]:
    """Return the set's name and size, in lines that fit a phone."""
    stated = ", as published" if photos.published else ""
    if len(photos.title + stated) <= _LINE:
        return [photos.title + stated]
    size = "" if photos.images is None else counted(photos.images, "photo")
    return [*wrap(photos.name, _LINE), *filter(None, [size + stated])]


def _lines(points: list[Point]) -> dict[tuple[str, str, bool], list[Point]]:
    """Group points by scheme, family, and whether they are cut; each group in the order of cost."""
    found: dict[tuple[str, str, bool], list[Point]] = {}
    for point in sorted(points, key=lambda one: (one.card.scheme, one.card.family, one.card.cost.macs)):
        card = point.card
        found.setdefault((card.scheme, card.family, bool(card.truncated_from)), []).append(point)
    return found


def _line(
    figure: go.Figure,
    zoo: Zoo,
    photos: PhotoSet,
    metric: Metric,
    x_of: _Cost,
    saving: Saving,
    scheme: str,
    family: str,
    cut: bool,
    points: list[Point],
    latencies: Mapping[str, Latency],
) -> None:
    """Draw the models of one family and scheme: a line where they were trained, diamonds where they were cut."""
    errors = [getattr(point.errors, metric) for point in points]
    colour = SCHEME_COLOURS[scheme]
    families = list(dict.fromkeys(point.card.family for point in photos.points))
    name = f"{scheme_title(scheme)} · {FAMILY_WORDS.get(family, family)}{', cut, not trained again' if cut else ''}"
    spread = [latencies[point.card.id] for point in points] if saving == "latency" else []
    figure.add_scatter(
        x=[x_of(point.card) for point in points],
        y=errors,
        error_y=_bars(errors, photos.images),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [one.high - one.median for one in spread],
            "arrayminus": [one.median - one.low for one in spread],
            "visible": bool(spread),
            "thickness": 1,
        },
        text=["" if cut else point.card.version for point in points],
        customdata=[point.card.id for point in points],
        meta={
            "model": [point.card.id for point in points],
            "λ": ["" if cut else point.card.lambda_text for point in points],
            "ranks": ["-".join(map(str, point.card.ranks)) for point in points],
        },
        mode="markers" if cut else "lines+markers+text",
        textposition="bottom left" if scheme == "scheme_2" else "top right",
        name=escape(name),
        line={"color": colour, "width": 2, "dash": _DASHES[families.index(family) % len(_DASHES)]},
        marker={"size": 11, "symbol": "diamond-open" if cut else "circle", "color": colour},
        cliponaxis=False,
        hovertext=[_hover(zoo, photos, point, metric, saving, x_of(point.card)) for point in points],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _bars(errors: list[float], images: int | None) -> dict[str, Any]:
    """Return error bars from Wilson's interval; invisible where the number of photos is not known."""
    bounds = [wilson(error, images) for error in errors] if images else []
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - error for error, (_, high) in zip(errors, bounds, strict=False)],
        "arrayminus": [error - low for error, (low, _) in zip(errors, bounds, strict=False)],
        "visible": bool(bounds),
        "thickness": 1,
        "width": 3,
    }


def _hover(zoo: Zoo, photos: PhotoSet, point: Point, metric: Metric, saving: Saving, cost: float | None) -> str:
    """Return what a point says: name, MFLOPs, the cost that is drawn, the error, λ, and the rank profile."""
    card, error = point.card, getattr(point.errors, metric)
    between = ""
    if photos.images:
        low, high = wilson(error, photos.images)
        between = f" (95 %: {low:.1f} to {high:.1f})"
    also = f" · {cost:.1f} {_UNITS[saving]}" if saving != "mflops" and cost is not None else ""
    convolutions = sum(layer.kind == "conv" for layer in LAYERS)
    ranks = [", ".join(map(str, some)) for some in (card.ranks[:convolutions], card.ranks[convolutions:])]
    return "<br>".join(
        (
            f"<b>{escape(card.title)}</b>",
            f"{zoo.mflops(card)} MFLOPs{also}",
            f"{METRIC_NAMES[metric]} error {error:.2f} %{between}",
            f"ranks of conv1 to conv5: {ranks[0]}",
            f"ranks of fc6 to fc8: {ranks[1]}",
            *(() if card.truncated_from else (f"λ {card.lambda_text}",)),
        )
    )


def _reference(figure: go.Figure, zoo: Zoo, metric: Metric) -> None:
    reference = zoo.reference
    figure.add_scatter(
        x=[reference.mflops],
        y=[getattr(reference, metric)],
        text=[escape(reference.name)],
        mode="markers+text",
        textposition="bottom left",
        name=f"{escape(reference.name)}, not compressed",
        marker={"color": GREY, "size": 13, "symbol": "diamond"},
        hovertemplate=f"<b>%{{text}}</b>, not compressed<br>%{{x}} MFLOPs<br>{METRIC_NAMES[metric]} error "
        "%{y:.2f} %<extra></extra>",
    )


def _headline(figure: go.Figure, zoo: Zoo, photos: PhotoSet, metric: Metric) -> None:
    """Write above the most compressed model how it compares with the uncompressed network, if it errs less.

    The y axis leaves room for it above the reference: on a phone nothing else is free.
    """
    best = min(photos.points, key=lambda point: point.card.cost.macs)
    reference, mflops = zoo.reference, zoo.mflops(best.card)
    highest, lowest = getattr(reference, metric), min(getattr(point.errors, metric) for point in photos.points)
    fewer = highest - getattr(best.errors, metric)
    if fewer <= 0:
        return
    top = highest + 0.45 * (highest - lowest)
    figure.update_yaxes(range=[lowest - 0.3 * (highest - lowest), top])
    figure.add_annotation(
        text=f"<b>{reference.mflops / mflops:.1f}× fewer MFLOPs</b><br>and {fewer:.1f} points less<br>"
        f"error than {escape(reference.name)}",
        x=mflops,
        y=getattr(best.errors, metric),
        axref="x",
        ayref="y",
        ax=mflops + 30,
        ay=top - 0.03 * (highest - lowest),
        xanchor="left",
        yanchor="top",
        align="left",
        arrowhead=2,
        arrowcolor=GREY,
        standoff=9,
    )


def _better(figure: go.Figure) -> None:
    """Point to the lower left, where networks are cheaper and err less."""
    figure.add_annotation(
        text="better",
        xref="paper",
        yref="paper",
        x=0.004,
        y=0.008,
        ax=38,
        ay=-22,
        arrowhead=2,
        arrowcolor=GREY,
        arrowwidth=1.5,
    )


def _mark(figure: go.Figure, photos: PhotoSet, chosen: ModelCard, metric: Metric, x_of: _Cost) -> bool:
    """Mark the chosen model; return whether that is a line with words above the plot, for a model without errors."""
    x = x_of(chosen)
    if x is None:
        return False
    if errors := photos.find(chosen):
        figure.add_scatter(
            x=[x],
            y=[getattr(errors, metric)],
            customdata=[chosen.id],
            mode="markers",
            name="chosen model",
            marker={"color": "rgba(0,0,0,0)", "size": 22, "line": {"color": CHOSEN, "width": 3}},
            hoverinfo="skip",
        )
        return False
    costs = [cost for point in photos.points if (cost := x_of(point.card)) is not None]
    right = bool(costs) and x > (min(costs) + max(costs)) / 2
    figure.add_vline(
        x=x,
        line={"color": CHOSEN, "width": 2, "dash": "dot"},
        annotation={
            "text": "chosen: not measured<br>on these photos",
            "xanchor": "right" if right else "left",
            "align": "right" if right else "left",
            "yanchor": "bottom",
            "y": 1,
            "yref": "paper",
        },
    )
    return True


def _empty(figure: go.Figure) -> go.Figure:
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure.add_annotation(
        text="Nothing has been measured yet: run a validation under Validate.",
        xref="paper",
        yref="paper",
        x=0.5,
        y=0.5,
        showarrow=False,
    )
