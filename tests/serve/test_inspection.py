"""Inside the models: what depends on a model alone is computed once, and nothing is downloaded for it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from lowrank_demo.classify import latency
from lowrank_demo.classify.inference import Prediction
from lowrank_demo.errors import Busy, ImageError, WeightsUnavailable
from lowrank_demo.runtime.turns import FairLock
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.inspection import Inspection
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from tests.helpers.photos import photo_path

V5 = "bundled/scheme_2/v5"


def test_a_time_is_measured_once(settings: Settings) -> None:
    service = Service(settings)
    inspection, card = Inspection(service), service.zoo.get("scheme_2/v5")
    assert inspection.latency(card) is inspection.latency(card)


def test_few_made_up_cuts_are_timed_at_a_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each took a second during which nobody was answered, and there are more of them than can be kept."""
    service = Service(settings)
    inspection, card = Inspection(service), service.zoo.get("scheme_2/v5")
    cuts = [card.truncated([rank] * 8) for rank in (1, 2, 3)]
    began, goes_on = threading.Semaphore(0), threading.Event()

    def slow(*_: Any) -> latency.Latency:
        began.release()
        assert goes_on.wait(30)
        return latency.Latency(1, 1, 1)

    monkeypatch.setattr(latency, "measure", slow)
    threads = [threading.Thread(target=inspection.latency, args=(cut,)) for cut in cuts[:2]]
    threads[0].start()
    assert began.acquire(timeout=30)
    threads[1].start()
    while inspection._timing._free._value:
        pass
    with pytest.raises(Busy, match="try again in a minute"):
        inspection.latency(cuts[2])
    goes_on.set()
    for thread in threads:
        thread.join()
    assert inspection.latency(cuts[2]).median == 1
    assert inspection.latency(cuts[0]).median == 1


def test_a_network_is_made_while_others_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes as long as its passes."""
    service = Service(settings)
    card = service.zoo.get("scheme_2/v5")
    made = latency.LowRankAlexNet

    def network(*arguments: Any) -> Any:
        with service.running:  # nobody holds it
            return made(*arguments)

    monkeypatch.setattr(latency, "LowRankAlexNet", network)
    assert Inspection(service).latency(card).median > 0


def test_views_of_a_model(settings: Settings) -> None:
    service = Service(settings)
    inspection, card = Inspection(service), service.zoo.get(V5)
    spectra, filters = inspection.spectra(card), inspection.filters(card)
    assert [len(values) for values in spectra.values] == list(card.ranks)
    truncated = card.truncated([1] * 8)
    assert inspection.spectra(truncated) is spectra, "computed once, and a truncated model's are its whole model's"
    assert inspection.filters(truncated) is filters
    absent = service.zoo.get("scheme_1/v1")
    for view in (inspection.spectra, inspection.filters):
        with pytest.raises(WeightsUnavailable, match="Scheme 1 · v1 · authors' are not on this machine yet"):
            view(absent)


def test_evidence_of_one_photo(settings: Settings) -> None:
    service = Service(settings)
    inspection, card = Inspection(service), service.zoo.get(V5)
    photo = Photo.from_file(photo_path("lion.jpg"))
    view, (found,) = inspection.evidence(photo, [card])
    answer = service.classify([photo], card)[0]
    assert isinstance(answer, Prediction)
    assert found.label == answer.top[0].label
    assert found.probability == pytest.approx(answer.top[0].probability, abs=0.02)
    assert (view.shape, view.dtype) == ((227, 227, 3), np.uint8)
    assert found.weight.shape == (227, 227)
    with pytest.raises(ImageError, match="expected"):
        inspection.evidence(Photo.from_bytes(b"no photo"), [card])
    with pytest.raises(WeightsUnavailable, match="Scheme 1 · v1 · authors'"):
        inspection.evidence(photo, [service.zoo.get("scheme_1/v1")])


def test_evidence_gives_others_their_turns(settings: Settings) -> None:
    """It takes seconds, in which one visitor would keep all others waiting."""
    service, turns = Service(settings), 0

    class Counted(FairLock):
        def __exit__(self, *raised: Any) -> None:
            nonlocal turns
            super().__exit__(*raised)
            turns += 1

    service.running = Counted()
    Inspection(service).evidence(Photo.from_file(photo_path("lion.jpg")), [service.zoo.get(V5)])
    assert turns >= 12, "the answer, and eleven batches of hidden parts"
