"""JSON values that the API and ``--json`` return, in one shape for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from ..models.cards import Errors, Measurement, ModelCard
from ..models.zoo import Zoo
from .answers import ModelStatus, Photo

if TYPE_CHECKING:
    from ..classify.inference import Prediction
    from .validations import ValidationStatus


def model_json(status: ModelStatus) -> dict[str, Any]:
    """Return a model card with its costs."""
    card = status.card
    return {
        "id": card.id,
        "scheme": card.scheme,
        "version": card.version,
        "lambda": card.lambda_,
        "ranks": list(card.ranks),
        "macs": card.cost.macs,
        "parameters": card.cost.params,
        "fp32_bytes": card.cost.fp32_bytes,
        "published": published_json(card),
        "measured": [{**_measured_json(one), "command": one.command} for one in card.measured],
        "weights": status.where,
        "licence": card.licence,
        "provenance": card.provenance,
        "note": card.note,
    }


def _measured_json(measurement: Measurement) -> dict[str, Any]:
    """Return measured errors with their margins, in percentage points, and what they were measured on."""
    return {
        "dataset": measurement.dataset,
        "images": measurement.images,
        "top1_error": measurement.top1,
        "top1_margin": measurement.margin(measurement.top1),
        "top5_error": measurement.top5,
        "top5_margin": measurement.margin(measurement.top5),
    }


def published_json(card: ModelCard) -> dict[str, float | None] | None:
    """Return the published figures; None for a model that was not published."""
    if card.published is None:
        return None
    return {
        "mflops": card.published_mflops,
        "flops_reduction": card.flops_reduction,
        "top1_error": card.published.top1,
        "top5_error": card.published.top5,
    }


def ranks_json(card: ModelCard) -> dict[str, Any]:
    """Return the rank, MACs, parameters and factor shapes of every layer."""
    return {
        "model": card.id,
        "macs": card.cost.macs,
        "parameters": card.cost.params,
        "layers": [
            {
                "layer": cost.layer.name,
                "rank": cost.rank,
                "full_rank": cost.full_rank,
                "dense_macs": cost.layer.macs,
                "dense_parameters": cost.layer.params,
                **{
                    factor.name: {
                        "shape": list(factor.weight_shape),
                        "macs": factor.macs,
                        "parameters": factor.params,
                    }
                    for factor in (cost.v, cost.u)
                },
            }
            for cost in card.cost.layers
        ],
    }


def pareto_json(zoo: Zoo) -> dict[str, Any]:
    """Return what the Pareto figure draws: cost with published errors, and with those that this project measured."""

    def point(label: str, mflops: float, errors: Errors) -> dict[str, Any]:
        return {"model": label, "mflops": mflops, "top1_error": errors.top1, "top5_error": errors.top5}

    return {
        "points": [
            {
                **point(card.id, card.published_mflops or 0, card.published),
                "scheme": card.scheme,
                "macs": card.cost.macs,
            }
            for card in zoo
            if card.published
        ],
        "reference": point(zoo.reference.name, zoo.reference.mflops, zoo.reference),
        "measured": [
            {"model": card.id, "scheme": card.scheme, "macs": card.cost.macs, **_measured_json(card.measured[0])}
            for card in zoo
            if card.measured
        ],
    }


def predictions_json(photos: Sequence[Photo], predictions: Sequence[Prediction | ImageError]) -> list[dict[str, Any]]:
    """Return for each photo ``file`` with ``top``, ``decoder``, ``device`` and ``timings_ms``, or with ``error``."""
    return [
        {"file": photo.name, "error": str(answer)}
        if isinstance(answer, ImageError)
        else {
            "file": photo.name,
            "top": [
                {
                    "index": guess.label.index,
                    "synset": guess.label.synset,
                    "name": guess.label.name,
                    "probability": guess.probability,
                }
                for guess in answer.top
            ],
            "decoder": answer.decoder,
            "device": answer.device,
            "timings_ms": {
                "decode": answer.timings.decode.milliseconds,
                "network": answer.timings.network.milliseconds,
            },
        }
        for photo, answer in zip(photos, predictions, strict=True)
    ]


def validation_json(status: ValidationStatus) -> dict[str, Any]:
    """Return a validation's state, place, progress, errors so far, and its report once there is one."""
    from ..validate.report import report_json, result_json

    progress = status.progress
    return {
        "state": status.state,
        "file": status.title,
        "place": status.place,
        "doing": status.doing,
        "progress": {
            "done": progress.done,
            "total": progress.total,
            "images_per_second": progress.per_second,
            "seconds_left": progress.seconds_left,
        }
        if progress
        else None,
        "results": [result_json(result) for result in status.results],
        "left_out": [{"id": model, "reason": why} for model, why in status.left_out],
        "report": report_json(status.report) if status.report else None,
        "error": status.error or None,
    }
