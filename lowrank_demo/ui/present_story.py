"""The paper's story in five steps, with figures of the models that are here, and who trained which weights."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ..charts import story
from ..models.architecture import LAYERS, full_rank, matrix_shape
from ..models.cards import FAMILY_WORDS, ModelCard
from ..models.zoo import Zoo
from ..runtime.words import lambda_text, percent
from ..settings import ASSETS
from .present_run import run_caption, run_view

if TYPE_CHECKING:
    from ..lowrank.spectra import Spectra
    from ..reproduce.results import Results

_WHOSE = {
    "published": "The paper's authors trained these on ImageNet and released them. Weights are downloaded from their "
    "release when you ask for them.",
    "bundled": "This project trained these, at ranks that the paper learned, so that the app answers without a "
    "download. They show how low rank works, not how good the paper's models are.",
}
_OTHERS = "Whoever runs this server added these. Their cards say where they come from."


def story_view(zoo: Zoo, card: ModelCard, spectra: Spectra, run: Results) -> str:
    """Return the five steps.

    Args:
        zoo: All models.
        card: The model whose ranks and singular values are drawn.
        spectra: Its singular values.
        run: A recorded run of the LC algorithm.
    """
    versions = sorted(
        (one for one in zoo.of_scheme(card.scheme) if one.published), key=lambda one: one.cost.macs, reverse=True
    )
    conv, shown, priced = LAYERS[story.LAYER], LAYERS[story.SHOWN], LAYERS[story.PRICED]
    rows, columns = matrix_shape(conv, card.scheme)
    name = escape(card.title)
    most = full_rank(shown, card.scheme)
    steps = [
        (
            "A layer is a matrix",
            f"The weights of {conv.name} form a matrix of {rows:,} × {columns:,}. If its rank is r, it is the product "
            "of two thin matrices, U · V, so two small layers do the work of one. The two schemes differ in how the "
            "weights become a matrix.",
            story.matrix_drawing(card) + "".join(map(_scheme_drawing, ("scheme_1", "scheme_2"))),
            f"{conv.name} of {name}, to scale; below, what the layers become.",
        ),
        (
            "Most of it is redundant",
            f"{shown.name} could have rank {most:,}. Here it has {card.ranks[story.SHOWN]}, and "
            f"{story.energy_needed(spectra)} of these hold {percent(story.ENERGY)} of its energy, the sum of the "
            "squared singular values.",
            story.energy_drawing(spectra),
            f"Each line is a layer of {name}: blue a convolution, violet a linear layer.",
        ),
        (
            "Which ranks?",
            "Trying every combination of eight ranks is hopeless. The paper's C step chooses the rank of each layer "
            "separately: the r with the least λ · cost(r) + μ/2 · lost energy(r), with the cost in MFLOPs. Then the "
            "weights are trained a little towards that rank, and the two steps take turns while μ grows.",
            story.terms_drawing(spectra),
            f"{priced.name} of {name} at λ = {lambda_text(story.LAMBDA)}, μ = {story.MU:g}: rank "
            f"{story.chosen_rank(spectra)} costs least. Explore λ moves both.",
        ),
    ]
    if versions:
        best = versions[-1]
        first, last = versions[0], best
        assert best.published
        fewer = zoo.reference.mflops / zoo.mflops(best)
        steps += [
            (
                "λ decides",
                f"λ is the price of one MFLOP. From λ = {first.lambda_text} to {last.lambda_text} the network falls "
                f"from {zoo.mflops(first)} to {zoo.mflops(last)} MFLOPs. Nobody sets the ranks by hand: each layer "
                "gives up its least useful part.",
                story.ranks_drawing(zoo, versions),
                f"Learned ranks as shares of the full ranks, as published; the tallest bar is "
                f"{percent(story.largest_share(versions))}. c1 to c5 are convolutions, f6 to f8 linear.",
            ),
            (
                "Learned, not just cut",
                "Cutting a trained network gives its weights no chance to adapt: drag the slider at the top past the "
                "last version, and watch the answer change. Learned together, ranks and weights give "
                f"<b>{fewer:.1f}× fewer MFLOPs</b> than {escape(zoo.reference.name)}, with "
                f"{best.published.top1:.1f} % top-1 error in place of {zoo.reference.top1:.1f} %. Play a recorded run "
                "on a small network: the ranks settle early, and as μ grows the weights adapt to them.",
                story.result_drawing(zoo, best) + run_view(run),
                f"Above: {escape(zoo.reference.name)} and {escape(best.title)} on ImageNet, as published. Below: "
                f"{run_caption(run)}",
            ),
        ]
    return "<ol class='lr-story'>" + "".join(_step(number, *one) for number, one in enumerate(steps, start=1)) + "</ol>"


def _step(number: int, title: str, words: str, drawing: str, caption: str) -> str:
    return (
        f"<li><div><h3><span>{number}</span> {title}</h3><p>{words}</p></div>"
        f"<figure>{drawing}<figcaption>{caption}</figcaption></figure></li>"
    )


def _scheme_drawing(scheme: str) -> str:
    return (ASSETS / f"{scheme}.svg").read_text(encoding="utf-8")


def provenance_view(zoo: Zoo) -> str:
    """Return two sentences about the weights of each family; details and licences are folded."""
    families: dict[str, list[ModelCard]] = {}
    for card in zoo:
        families.setdefault(card.family, []).append(card)
    return "".join(
        f"<p><b>{escape(FAMILY_WORDS.get(family, family)).capitalize()} weights.</b> {_WHOSE.get(family, _OTHERS)}</p>"
        f"<details><summary>Details and licence</summary><ul>{_details(cards)}</ul></details>"
        for family, cards in families.items()
    )


def _details(cards: Sequence[ModelCard]) -> str:
    alike: dict[tuple[str, str], list[ModelCard]] = {}
    for card in cards:
        alike.setdefault((card.provenance, card.licence), []).append(card)
    return "".join(
        f"<li>{escape(', '.join(one.title for one in some))}: {escape(provenance)} Licence: {escape(licence)}.</li>"
        for (provenance, licence), some in alike.items()
    )
