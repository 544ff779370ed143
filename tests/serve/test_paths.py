"""Answers along a path: what each network says alone, known the second time, and refused in one sentence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from lowrank_demo.errors import Busy, ImageError
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.paths import Paths
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from tests.helpers.photos import photo_path


def photo(name: str = "lion.jpg") -> Photo:
    return Photo.from_file(photo_path(name))


def test_answers_are_those_of_each_model_alone(settings: Settings) -> None:
    service = Service(settings)
    paths = Paths(service)
    found = paths.answers(photo(), paths.first())
    assert found.view.shape == (227, 227, 3)
    assert set(found.answers) == {card.id for path in paths.paths["bundled"].values() for card in path}
    for model in ("bundled/scheme_2/v5", "bundled/scheme_1/v4", paths.paths["bundled"]["scheme_2"][4].id):
        alone = service.classify([photo()], service.zoo.get(model))[0]
        assert not isinstance(alone, ImageError)
        assert found.answers[model].classes[0] == alone.top[0].label.index
        shares = [guess.probability for guess in alone.top]
        assert found.answers[model].probabilities == pytest.approx(shares, abs=2e-3)
    assert paths.answers(photo(), paths.first()) is found, "a photo that was answered is not answered again"


def test_models_that_must_be_downloaded_are_left_out(settings: Settings) -> None:
    service = Service(settings)
    for model in ("published/scheme_2/v5", "published/scheme_2/v5@4-20-50-50-70-400-300-200"):
        assert Paths(service).answers(photo(), service.zoo.get(model)).answers == {}


def test_a_cut_that_is_not_on_the_path_is_answered_too(settings: Settings) -> None:
    service = Service(settings)
    paths = Paths(service)
    cut = service.zoo.truncated(paths.first(), [6, 26, 63, 65, 81, 466, 321, 230])
    assert cut.id not in {card.id for card in paths.paths["bundled"]["scheme_2"]}
    found = paths.answers(photo(), cut)
    assert set(found.answers) == {*paths.answers(photo(), paths.first()).answers, cut.id}
    alone = service.classify([photo()], cut)[0]
    assert not isinstance(alone, ImageError)
    assert found.answers[cut.id].classes == tuple(guess.label.index for guess in alone.top)
    assert found.answers[cut.id].probabilities == pytest.approx([guess.probability for guess in alone.top])


def test_a_photo_that_cannot_be_used(settings: Settings) -> None:
    paths = Paths(Service(settings))
    for data in (b"", b"no photo", photo_path("lion.jpg").read_bytes()[:3000]):
        with pytest.raises(ImageError):
            paths.answers(Photo.from_bytes(data), paths.first())


def test_too_many_at_once_are_told_to_wait(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(Service(settings))
    release, waiting = threading.Event(), threading.Semaphore(0)

    def load(path: Sequence[ModelCard]) -> list[Callable[[Tensor], Tensor]]:
        waiting.release()
        release.wait(20)
        return [lambda _: torch.zeros(1, 1000)] * len(path)

    monkeypatch.setattr(paths, "_load", load)
    threads = [threading.Thread(target=paths.answers, args=(photo(), paths.first())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=20)
    with pytest.raises(Busy):
        paths.answers(photo(), paths.first())
    release.set()
    for thread in threads:
        thread.join()


def test_what_is_being_answered_ends_with_the_app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(Service(settings))
    ran = []

    def end_after_one(networks: Sequence[object], *others: object) -> Iterator[None]:
        assert others
        for network in networks:
            ran.append(network)
            paths.end()
            yield

    monkeypatch.setattr("lowrank_demo.classify.path.answers_along", end_after_one)
    with pytest.raises(Busy, match="The server is being stopped"):
        paths.answers(photo(), paths.first())
    assert len(ran) == 1
    paths.warm_up(photo())  # ends without an error
