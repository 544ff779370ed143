"""JSON values of models, answers and validations: what they say, and that JSON can hold it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lowrank_demo.classify.inference import Prediction
from lowrank_demo.models.architecture import network_cost
from lowrank_demo.models.cards import Measurement
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.runtime.progress import Progress
from lowrank_demo.serve.answers import ModelStatus, Photo
from lowrank_demo.serve.payloads import model_json, pareto_json, predictions_json, ranks_json, validation_json
from lowrank_demo.serve.service import Service
from lowrank_demo.serve.validations import ValidationStatus
from lowrank_demo.settings import Settings
from tests.helpers.photos import photo_path

V5 = "bundled/scheme_2/v5"


def test_every_model_is_json(zoo: Zoo) -> None:
    for card in zoo:
        data = model_json(ModelStatus(card, "to download"))
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert (data["id"], data["ranks"], data["weights"]) == (card.id, list(card.ranks), "to download")
        assert (data["published"] is None) == (card.family != "published")


def test_the_layers_add_up_to_the_model(zoo: Zoo) -> None:
    card = zoo.get("scheme_1/v2")
    data = ranks_json(card)
    cost = network_cost("scheme_1", card.ranks)
    assert sum(layer["V"]["macs"] + layer["U"]["macs"] for layer in data["layers"]) == data["macs"] == cost.macs
    for layer in data["layers"]:
        assert layer["V"]["shape"][0] == layer["U"]["shape"][1] == layer["rank"] <= layer["full_rank"]


def test_the_points_are_the_published_figures(zoo: Zoo, published_models: list[dict]) -> None:
    points = pareto_json(zoo)["points"]
    assert [(p["mflops"], p["top1_error"], p["top5_error"]) for p in points] == [
        (m["mflops"], m["top1_error"], m["top5_error"]) for m in published_models
    ]


def test_measured_errors_come_with_their_margins(zoo: Zoo) -> None:
    first = Measurement(66.0, 40.0, "photos", "validate", 1000)
    card = replace(zoo.get("scheme_2/v5"), measured=(first, replace(first, images=None)))
    counted, uncounted = model_json(ModelStatus(card, "bundled"))["measured"]
    assert (counted["images"], counted["top1_error"], counted["command"]) == (1000, 66.0, "validate")
    assert (counted["top1_margin"], counted["top5_margin"]) == (
        pytest.approx(2.94, abs=0.01),
        pytest.approx(3.04, abs=0.01),
    )
    assert (uncounted["images"], uncounted["top1_margin"], uncounted["top5_margin"]) == (None, None, None)
    (point,) = pareto_json(replace(zoo, cards=(card, zoo.get("scheme_1/v1"))))["measured"]
    assert (point["model"], point["macs"]) == (card.id, card.cost.macs)
    assert (point["dataset"], point["top5_margin"]) == ("photos", counted["top5_margin"])


def test_an_answer_and_a_refusal(settings: Settings) -> None:
    service = Service(settings)
    photos = [Photo.from_file(photo_path("lion.jpg")), Photo.from_bytes(b"hello", "bad.jpg")]
    answers = service.classify(photos, service.zoo.get(V5))
    good, bad = predictions_json(photos, answers)
    assert isinstance(answers[0], Prediction)
    best = answers[0].top[0]
    assert good["top"][0] == {
        "index": best.label.index,
        "synset": best.label.synset,
        "name": best.label.name,
        "probability": best.probability,
    }
    times = answers[0].timings
    assert good["timings_ms"] == {"decode": times.decode.milliseconds, "network": times.network.milliseconds}
    assert bad == {"file": "bad.jpg", "error": str(answers[1])}


def test_a_validation_that_runs_and_one_that_failed() -> None:
    running = validation_json(ValidationStatus("running", "some.lmdb", progress=Progress(50, 200, 25.0)))
    assert running["progress"] == {"done": 50, "total": 200, "images_per_second": 25.0, "seconds_left": 6.0}
    assert (running["state"], running["file"], running["report"], running["error"]) == (
        "running",
        "some.lmdb",
        None,
        None,
    )
    failed = validation_json(ValidationStatus("failed", "some.lmdb", error="It is cut off."))
    assert (failed["progress"], failed["error"]) == (None, "It is cut off.")
