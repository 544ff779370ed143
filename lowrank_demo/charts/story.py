"""The figures of the paper's story, made from the numbers of the models that are here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..models.architecture import LAYERS, matrix_shape
from ..models.cards import ModelCard
from ..models.zoo import Zoo
from .drawing import WIDTH, Axis, Curve, chart, svg, text

if TYPE_CHECKING:
    from ..lowrank.spectra import Spectra

LAYER = 1
"""conv2: the layer whose matrix is drawn."""
SHOWN = 5
"""fc6: the layer whose energy is shown."""
PRICED = 3
"""conv4: the layer whose rank is chosen."""
LAMBDA, MU = 1e-4, 0.01
"""The sliders of *Explore λ* start here, too: these values truncate most layers of the bundled models."""
ENERGY = 0.9


def matrix_drawing(card: ModelCard) -> str:
    """Draw a layer's matrix and its two factors to scale."""
    layer, rank = LAYERS[LAYER], card.ranks[LAYER]
    rows, columns = matrix_shape(layer, card.scheme)
    scale = 110 / max(rows, columns)
    high, wide, thin = rows * scale, columns * scale, max(3, rank * scale)
    middle = 30 + high / 2
    parts = (
        f'<rect class="whole" x="40" y="30" width="{wide:.1f}" height="{high:.1f}"/>',
        text(40 + wide / 2, 20, f"{rows:,} × {columns:,}", "middle"),
        text(40 + wide / 2, 30 + high + 18, f"{rows * columns:,} weights", "middle"),
        text(150, middle + 4, "≈", "middle", "strong"),
        f'<rect class="u" x="205" y="30" width="{thin:.1f}" height="{high:.1f}"/>',
        text(205 + thin / 2, 20, f"U: {rows:,} × {rank}", "middle"),
        text(226, middle + 4, "·", "middle", "strong"),
        f'<rect class="v" x="250" y="{middle - thin / 2:.1f}" width="{wide:.1f}" height="{thin:.1f}"/>',
        text(250 + wide / 2, middle - 14, f"V: {rank} × {columns:,}", "middle"),
        text(245, 30 + high + 18, f"{rank * (rows + columns):,} weights", "middle"),
    )
    return svg(f"The matrix of {layer.name} and its two factors, to scale", "".join(parts), 168)


def energy_needed(spectra: Spectra) -> int:
    """Return the rank at which the layer ``SHOWN`` keeps nine tenths of its energy."""
    return int((spectra.kept(SHOWN) < ENERGY).sum())


def energy_drawing(spectra: Spectra) -> str:
    """Draw the share of energy that each rank keeps, for every layer."""
    curves = [
        Curve(
            [(rank, float(share) * 100) for rank, share in enumerate(spectra.kept(index)) if rank],
            "conv" if layer.kind == "conv" else "linear",
        )
        for index, layer in enumerate(LAYERS)
    ]
    needed = energy_needed(spectra)
    x = Axis(1, 1000, [(1, "1"), (10, "10"), (100, "100"), (1000, "1,000")], "rank that is kept", log=True)
    y = Axis(0, 100, [(0, "0"), (50, "50"), (100, "100")], "energy kept, %")
    dot = (needed, float(spectra.kept(SHOWN)[needed]) * 100, f"{LAYERS[SHOWN].name}: {needed}")
    return chart("Energy that each rank keeps, one line for each layer", x, y, curves, [dot])


def chosen_rank(spectra: Spectra) -> int:
    """Return the rank that the C step chooses for the layer whose terms are drawn."""
    price, lost = spectra.terms(PRICED, LAMBDA, MU)
    return int((price + lost).argmin())


def terms_drawing(spectra: Spectra) -> str:
    """Draw the two terms of the C step, their sum, and the rank at which it is least."""
    price, lost = spectra.terms(PRICED, LAMBDA, MU)
    total = price + lost
    most, best, last = float(total.max()), chosen_rank(spectra), len(total) - 1

    def curve(values: Sequence[float], kind: str, label: str, at: int, anchor: str) -> Curve:
        return Curve([(rank, value / most) for rank, value in enumerate(values)], kind, label, at, anchor)

    middle = last // 2
    curves = [
        curve(price.tolist(), "price", "λ · cost", last, "end"),
        curve(lost.tolist(), "lost", "μ/2 · lost energy", middle // 2, "end" if last < 8 else "start"),
        curve(total.tolist(), "total", "sum", 0, "start"),
    ]
    x = Axis(0, last, [(0, "0"), (middle, str(middle)), (last, str(last))], f"rank of {LAYERS[PRICED].name}")
    y = Axis(0, 1.12, [(0, "0")], "what a rank costs")
    return chart(
        "The two terms of the C step and their sum", x, y, curves, [(best, float(total[best]) / most, f"{best}")]
    )


def largest_share(cards: Sequence[ModelCard]) -> float:
    """Return the largest rank of all layers, as a share of its full rank."""
    return max(cost.rank / cost.full_rank for card in cards for cost in card.cost.layers)


def ranks_drawing(zoo: Zoo, cards: Sequence[ModelCard]) -> str:
    """Draw the learned ranks of each version as shares of the full ranks: a row for each λ.

    The tallest bar fills its row; :func:`largest_share` says what share it stands for.
    """
    high, left, right = 40, 92, 74
    step = (WIDTH - left - right) / len(LAYERS)
    most = largest_share(cards)
    parts = [text(0, 11, "λ"), text(WIDTH, 11, "MFLOPs", "end")]
    parts += [
        text(left + step * (i + 0.5), 11, layer.name.replace("conv", "c").replace("fc", "f"), "middle")
        for i, layer in enumerate(LAYERS)
    ]
    for row, card in enumerate(cards):
        bottom = 18 + high * (row + 1)
        parts.append(text(0, bottom - 8, f"{card.version}: {card.lambda_text}"))
        parts.append(text(WIDTH, bottom - 8, str(zoo.mflops(card)), "end"))
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{bottom}" y2="{bottom}"/>')
        for i, cost in enumerate(card.cost.layers):
            tall = max(1.0, (high - 6) * cost.rank / cost.full_rank / most)
            kind = "conv" if cost.layer.kind == "conv" else "linear"
            parts.append(
                f'<rect class="{kind}" x="{left + step * i + 3:.1f}" y="{bottom - tall:.1f}" '
                f'width="{step - 6:.1f}" height="{tall:.1f}"/>'
            )
    return svg("Learned ranks of each version, as shares of the full ranks", "".join(parts), 24 + high * len(cards))


def result_drawing(zoo: Zoo, best: ModelCard) -> str:
    """Draw MFLOPs and error of a published model beside those of the uncompressed network."""
    assert best.published
    reference = zoo.reference
    sets = (
        ("MFLOPs", reference.mflops, zoo.mflops(best), "{:.0f}"),
        ("top-1 error, %", reference.top1, best.published.top1, "{:.1f}"),
    )
    parts: list[str] = []
    for number, (name, before, after, form) in enumerate(sets):
        top = 14 + 84 * number
        parts.append(text(0, top, name, kind="strong"))
        for row, (who, value, kind) in enumerate(((reference.name, before, "whole"), (best.version, after, "conv"))):
            y = top + 10 + 28 * row
            wide = (WIDTH - 150) * value / max(before, after)
            parts.append(text(92, y + 15, who, "end"))
            parts.append(f'<rect class="{kind}" x="100" y="{y}" width="{wide:.1f}" height="20"/>')
            parts.append(text(106 + wide, y + 15, form.format(value)))
    return svg(f"{reference.name} beside {best.title}: MFLOPs and top-1 error", "".join(parts), 172)
