"""The first view's data: paths, layers, errors and answers as the browser draws them."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..data.imagenet import classes
from ..errors import Busy, LowRankError
from ..models.architecture import LAYERS, SCHEMES, full_rank
from ..models.cards import BUNDLED_FAMILY, DEFAULT_FAMILY, FAMILY_WORDS, ModelCard, scheme_title
from ..models.zoo import Zoo
from ..runtime.words import counted
from .present import picture_uri

if TYPE_CHECKING:
    from ..serve.paths import PathAnswers

_SCHEMES = {
    "scheme_1": "V is a k × k convolution to r channels, U a 1 × 1 convolution",
    "scheme_2": "V is a 1 × k convolution to r channels, U a k × 1 convolution",
}
_EXAMPLE_EDGE = 96


def stage_config(
    zoo: Zoo,
    paths: Mapping[str, Mapping[str, Sequence[ModelCard]]],
    ready: Sequence[str],
    examples: Sequence[Path],
) -> str:
    """Return what the first view draws for any photo, as JSON.

    Args:
        zoo: All models.
        paths: Family -> scheme -> its networks in order of falling MACs.
        ready: Ids of the models whose weights are here.
        examples: Photos to offer.
    """
    return json.dumps(
        {
            "names": [one.name for one in classes()],
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "kernel": layer.kernel,
                    "inputs": layer.inputs,
                    "outputs": layer.outputs,
                    "full": {scheme: full_rank(layer, scheme) for scheme in SCHEMES},
                }
                for layer in LAYERS
            ],
            "families": {family: _family(family, schemes) for family, schemes in paths.items()},
            "schemes": {scheme: (scheme_title(scheme), _SCHEMES[scheme]) for scheme in SCHEMES},
            "paths": {
                family: {scheme: [_cut(zoo, card) for card in path] for scheme, path in schemes.items()}
                for family, schemes in paths.items()
            },
            "stops": {scheme: _stops(zoo, scheme) for scheme in SCHEMES},
            "errors": _errors(zoo, paths),
            "reference": {"name": zoo.reference.name, "mflops": zoo.reference.mflops},
            "ready": list(ready),
            "examples": [{"name": path.name, "title": path.stem, "picture": _thumbnail(path)} for path in examples],
        },
        ensure_ascii=False,
    )


def _family(family: str, schemes: Mapping[str, Sequence[ModelCard]]) -> tuple[str, str]:
    """Return a family's name for people, and whether its weights are here."""
    cards = [card for path in schemes.values() for card in path]
    name = FAMILY_WORDS.get(family, family)
    if not cards or cards[0].bundled:
        return name, "ready"
    sizes = [card.cost.fp32_bytes / 1e6 for card in cards]
    return f"the {name}", f"{min(sizes):.0f} to {max(sizes):.0f} MB each, downloaded when you ask for it"


def _cut(zoo: Zoo, card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "title": card.title,
        "version": "" if card.truncated_from else card.version,
        "lambda": "" if card.truncated_from else card.lambda_text,
        "mflops": zoo.mflops(card),
        "at": card.cost.macs / 1e6,
        "fewer": f"{zoo.reference.mflops / zoo.mflops(card):.1f}" if zoo.mflops(card) else "",
        "ranks": card.ranks,
        "macs": [round(cost.macs / 1e6, 2) for cost in card.cost.layers],
        "error": _error(card),
        "published": card.published is not None,
        "top1": card.measured[0].top1 if card.measured else None,
        "about": _about(card),
        # What is downloaded is the model that a cut is made from.
        "megabytes": round(zoo.get(card.id.partition("@")[0]).cost.fp32_bytes / 1e6),
    }


def _error(card: ModelCard) -> str:
    if card.published:
        return f"top-1 error {card.published.top1:.1f} % on ImageNet (published)"
    if card.measured:
        first = card.measured[0]
        margin = first.margin(first.top1)
        photos = first.dataset if first.images is None else counted(first.images, "photo")
        return f"top-1 error {first.top1:.1f} {'' if margin is None else f'± {margin:.1f} '}% ({photos})"
    return "error not measured"


def _about(card: ModelCard) -> str:
    if card.published:
        return ""
    cut = "A cut of the trained versions, not trained again at these ranks." if card.truncated_from else ""
    if not card.measured:
        return cut
    first = card.measured[0]
    margins = [first.margin(error) or 0 for error in (first.top1, first.top5)]
    spread = "" if first.images is None else f": {counted(first.images, 'photo')}, ± {max(margins):.1f}"
    start = f"{cut} It is" if cut else "These weights are"
    return (
        f"{start} right on {100 - first.top1:.0f} of 100 photos, and within five guesses on "
        f"{100 - first.top5:.0f} ({first.dataset}{spread})."
    )


def _stops(zoo: Zoo, scheme: str) -> list[dict[str, Any]]:
    return [
        {
            "version": card.version,
            "mflops": zoo.mflops(card),
            "at": card.cost.macs / 1e6,
            "lambda": card.lambda_text,
            "price": f"{card.lambda_ * 1e4:.2f}",
            "error": f"{card.published.top1:.1f}",
        }
        for card in zoo.of_scheme(scheme)
        if card.published
    ]


def _errors(zoo: Zoo, paths: Mapping[str, Mapping[str, Sequence[ModelCard]]]) -> dict[str, Any]:
    """Return the points of the small plot, for one set of photos: the bundled versions if all are measured on one set.

    The lines then also pass through those cuts between and below the versions that have been measured.
    """
    own = {
        scheme: [card for card in zoo.of_scheme(scheme) if card.family == BUNDLED_FAMILY and card.measured]
        for scheme in SCHEMES
    }
    sets = {card.measured[0].dataset for cards in own.values() for card in cards}
    if len(sets) == 1 and all(len(cards) > 1 for cards in own.values()):
        series = {scheme: [_point(zoo, card, card.measured[0].top1) for card in cards] for scheme, cards in own.items()}
        lines = {
            scheme: [(zoo.mflops(card), card.measured[0].top1) for card in path if card.measured]
            for scheme, path in paths.get(BUNDLED_FAMILY, {}).items()
        }
        return {
            "family": BUNDLED_FAMILY,
            "series": series,
            "lines": lines,
            "reference": None,
            "title": f"Weights: {FAMILY_WORDS.get(BUNDLED_FAMILY, BUNDLED_FAMILY)}. Top-1 error, %: {next(iter(sets))}",
        }
    series = {
        scheme: [_point(zoo, card, card.published.top1) for card in zoo.of_scheme(scheme) if card.published]
        for scheme in SCHEMES
    }
    reference = zoo.reference
    return {
        "family": DEFAULT_FAMILY,
        "series": series,
        "lines": {},
        "reference": {"title": reference.name, "mflops": reference.mflops, "error": reference.top1},
        "title": "Top-1 error on ImageNet, %, as published",
    }


def _point(zoo: Zoo, card: ModelCard, error: float) -> dict[str, Any]:
    return {"title": card.title, "mflops": zoo.mflops(card), "error": error}


def _thumbnail(path: Path) -> str:
    with Image.open(path) as image:
        image.draft("RGB", (2 * _EXAMPLE_EDGE, 2 * _EXAMPLE_EDGE))
        square = min(image.size)
        left, top = (image.width - square) // 2, (image.height - square) // 2
        small = (
            image.convert("RGB").crop((left, top, left + square, top + square)).resize((_EXAMPLE_EDGE, _EXAMPLE_EDGE))
        )
    file = io.BytesIO()
    small.save(file, "WEBP", quality=75)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def chosen_value(zoo: Zoo, card: ModelCard) -> str:
    """Return the model to show, as JSON, with all that the view draws for it: a cut may not be on the rail."""
    cut = _cut(zoo, card) if card.truncated_from else None
    # Here and below, the time makes every value a new one: the browser ignores one that it was told before, even if its
    # visitor has moved on since.
    return json.dumps({"id": card.id, "cut": cut, "time": time.time_ns()}, ensure_ascii=False)


def photo_value(
    name: str, key: str, found: PathAnswers, ready: Sequence[str], example: str = "", click: int = 0
) -> str:
    """Return a photo and its answers, as JSON, to replace those in the view.

    Args:
        name: The file's name.
        key: Names the photo.
        found: The answers.
        ready: Ids of the models whose weights are here.
        example: The photo's name in the page's address, if it is an example that the address names.
        click: Number of the latest click or drop that the photo was asked for after.
    """
    return json.dumps(
        {
            "replace": True,
            "click": click,
            "time": time.time_ns(),
            "photo": key,
            "name": name,
            "example": example,
            "caption": f"{name}: decoded in {found.decode_time.milliseconds:.1f} ms by {found.decoder}",
            "picture": picture_uri(found.view, found.view.shape[0]),
            "ready": list(ready),
            "answers": _answers(found),
        }
    )


def more_value(
    key: str,
    found: PathAnswers | None,
    ready: Sequence[str],
    refused: LowRankError | None = None,
    downloaded: str = "",
    failed: str = "",
) -> str:
    """Return more answers to a photo, as JSON.

    Args:
        key: Names the photo.
        found: The answers; None where they are refused.
        ready: Ids of the models whose weights are here.
        refused: Why there are none.
        downloaded: Id of the model whose download has ended, in success or not.
        failed: Why it failed; empty if it did not.
    """
    return json.dumps(
        {
            "ready": list(ready),
            "photo": key,
            "answers": _answers(found) if found else {},
            **_refusal(refused),
            "downloaded": downloaded,
            "failed": failed,
            "time": time.time_ns(),
        }
    )


def refused_value(name: str, key: str, error: LowRankError, example: str = "", click: int = 0) -> str:
    """Return, as JSON, why a photo gets no answers; see :func:`photo_value`."""
    photo = {"photo": key, "name": name, "example": example, "caption": name}
    new = {"replace": True, "click": click, "time": time.time_ns()}
    return json.dumps({**new, **photo, "answers": {}, **_refusal(error)})


def unchanged_value(click: int) -> str:
    """Return, as JSON, that the photo in the view stays; see :func:`photo_value`."""
    return json.dumps({"unchanged": True, "click": click, "time": time.time_ns()})


def _refusal(error: LowRankError | None) -> dict[str, Any]:
    """Return why there is no answer, and whether to ask again may help."""
    return {"refused": str(error), "again": isinstance(error, Busy)} if error else {}


def _answers(found: PathAnswers) -> dict[str, Any]:
    return {
        model: (top.classes, [round(share, 4) for share in top.probabilities]) for model, top in found.answers.items()
    }
