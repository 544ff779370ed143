"""The service: defaults, limits, and many threads at once."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lowrank_demo.classify.inference import Prediction
from lowrank_demo.errors import (
    Busy,
    ImageError,
    LowRankError,
    TooManyPhotos,
    UnknownModel,
    WeightsRefused,
    WeightsUnavailable,
)
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.store import LocalFile
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.places import DOWNLOADERS
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings
from tests.helpers.app import free_port
from tests.helpers.models import own_model, zoo_with
from tests.helpers.photos import photo_path
from tests.helpers.server import FileServer

V5 = "bundled/scheme_2/v5"


def photo(name: str = "lion.jpg") -> Photo:
    return Photo.from_file(photo_path(name))


def test_default_is_a_model_that_is_here(settings: Settings, served_settings: Settings) -> None:
    assert Service(settings).default_model().id == V5
    served = Service(served_settings)
    served.weights.ensure(served.zoo.get("scheme_2/v5"))
    assert Service(served_settings).default_model().id == "published/scheme_2/v5", "a cached published one comes first"


def test_limits(settings: Settings) -> None:
    service = Service(dataclasses.replace(settings, max_photos=2, max_file_mb=1))
    with pytest.raises(TooManyPhotos, match="3 photos came at once; expected at most 2"):
        service.classify([photo()] * 3, service.zoo.get(V5))
    with pytest.raises(UnknownModel):
        service.zoo.get("scheme_7/v5")
    big, good = service.classify([Photo.from_bytes(b"x" * 2_000_000, "big.jpg"), photo()], service.zoo.get(V5))
    assert isinstance(big, ImageError)
    assert "2 MB" in str(big)
    assert isinstance(good, Prediction)


def test_file_that_vanished(settings: Settings) -> None:
    service = Service(settings)
    (answer,) = service.classify([Photo.from_file(Path("/nowhere/gone.jpg"))], service.zoo.get(V5))
    assert isinstance(answer, ImageError)
    assert "/nowhere" not in str(answer)


def test_a_model_that_cannot_be_had_leaves_the_others(settings: Settings, tmp_path: Path) -> None:
    dead = {"url": f"http://127.0.0.1:{free_port()}/x"}
    service = Service(dataclasses.replace(settings, zoo=zoo_with(tmp_path / "z", {"published/scheme_1/v1": dead})))
    here = service.zoo.get(V5)
    assert isinstance(service.classify([photo()], here)[0], Prediction)
    with pytest.raises(WeightsUnavailable):
        service.classify([photo()], service.zoo.get("scheme_1/v1"))
    assert isinstance(service.classify([photo()], here)[0], Prediction)


def test_threads_get_their_own_answers(settings: Settings) -> None:
    service = Service(settings)
    names = ["lion.jpg", "tower.jpg", "cheetah1.jpg", "cheetah.jpg"]

    def top(name: str) -> str:
        (answer,) = service.classify([photo(name)], service.zoo.get(V5))
        assert isinstance(answer, Prediction)
        return answer.top[0].label.name

    expected = {name: top(name) for name in names}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(top, names * 10))
    assert answers == [expected[name] for name in names * 10]


def test_slow_downloads_leave_the_others_alone(
    served_settings: Settings, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.stall_after = 1000
    service = Service(served_settings)
    photos, slow = [Photo.from_file(photo_path())], service.zoo.get("published/scheme_2/v5")
    told: list[str] = []

    def wait() -> None:
        try:
            service.classify(photos, slow)
        except LowRankError as error:
            told.append(str(error))

    waiting = [threading.Thread(target=wait) for _ in range(DOWNLOADERS + 2)]
    for one in waiting:
        one.start()
    deadline = time.monotonic() + 10
    while len(told) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(told) == 2
    assert all(sentence.startswith("Weights are being downloaded for other visitors; try again") for sentence in told)
    (answer,) = service.classify(photos, service.zoo.get("bundled/scheme_2/v5"))
    assert isinstance(answer, Prediction)
    file_server.stall_after = None  # for those that try now
    file_server.closing.set()
    for one in waiting:
        one.join()


def test_warm_up_loads_the_default(settings: Settings, tmp_path: Path) -> None:
    service = Service(settings)
    service.warm_up()
    # Were it not in memory, it would have to be read again, and the file is not what its card says.
    (tmp_path / "nothing").touch()
    service.weights.ensure = lambda card, on_progress=None: LocalFile(tmp_path / "nothing", "0" * 64, "safetensors")
    assert service.networks.get(service.zoo.get(V5), service.machine.device)
    with pytest.raises(WeightsRefused):
        service.networks.get(service.zoo.get("bundled/scheme_1/v4"), service.machine.device)


def test_compare_is_what_each_model_says_alone(settings: Settings, tmp_path: Path) -> None:
    service = Service(dataclasses.replace(settings, models_dir=own_model(tmp_path / "models")))
    photos = [photo(), Photo.from_bytes(b"no photo", "bad.jpg"), photo("tower.jpg")]
    compared = service.compare(photos, service.ready_models())
    assert {card.id for card in compared.cards} >= {V5, "own/scheme_2/mine"}
    assert [card.cost.macs for card in compared.cards] == sorted((c.cost.macs for c in compared.cards), reverse=True)
    for card, answers in zip(compared.cards, compared.answers, strict=True):
        alone = service.classify(photos, card)
        assert isinstance(answers[1], ImageError)
        for index in (0, 2):
            one, other = answers[index], alone[index]
            assert isinstance(one, Prediction)
            assert isinstance(other, Prediction)
            assert one.top == other.top
    assert [view is None for view in compared.views] == [False, True, False]
    lion = np.asarray(Image.open(photo_path()).resize((256, 256)).crop((15, 15, 242, 242)).convert("RGB"), np.float32)
    assert compared.views[0] is not None
    assert np.abs(compared.views[0] - lion).mean() < 12, "the photo as the networks see it"


def test_a_truncated_model_is_the_whole_one_with_its_products_truncated(settings: Settings, tmp_path: Path) -> None:
    service = Service(dataclasses.replace(settings, models_dir=own_model(tmp_path / "own")))
    card = service.zoo.get("own/scheme_2/mine")
    same = service.compare([photo()], [card, card.truncated(card.ranks)])
    (whole,), (truncated,) = same.answers
    assert isinstance(whole, Prediction)
    assert isinstance(truncated, Prediction)
    assert [guess.label for guess in truncated.top] == [guess.label for guess in whole.top]
    assert truncated.top[0].probability == pytest.approx(whole.top[0].probability, abs=1e-3)
    nothing = service.compare([photo("lion.jpg"), photo("tower.jpg")], [card.truncated([0] * 8)]).answers[0]
    assert isinstance(nothing[0], Prediction)
    assert isinstance(nothing[1], Prediction)
    assert nothing[0].top == nothing[1].top, "a network of rank 0 answers the same for every photo"


def test_truncating_leaves_room_for_others(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are answered with a model in memory while two are truncated, and a third is refused."""
    service = Service(settings)
    card = service.zoo.get("bundled/scheme_2/v5")
    service.classify([photo()], card)
    cuts = [card.truncated([*card.ranks[:7], card.ranks[7] - i]) for i in range(1, 4)]
    begun, go_on, inner = threading.Semaphore(0), threading.Event(), service.networks.get

    def wait(one: ModelCard, *args: Any) -> Any:
        if one.truncated_from:
            begun.release()
            assert go_on.wait(60)
        return inner(one, *args)

    monkeypatch.setattr(service.networks, "get", wait)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(service.classify, [photo()], cut) for cut in cuts[:2]]
        for _ in running:
            assert begun.acquire(timeout=60)
        with pytest.raises(Busy, match="truncated for other visitors; try again"):
            service.classify([photo()], cuts[2])
        assert not isinstance(service.classify([photo()], card)[0], ImageError)
        go_on.set()
        assert all(not isinstance(one.result()[0], ImageError) for one in running)


def test_a_comparison_asks_first_those_in_memory(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one model, comparing two again loads one, not both."""
    service = Service(dataclasses.replace(settings, max_models_mb=60))
    cards = [service.zoo.get("bundled/scheme_2/v5"), service.zoo.get("bundled/scheme_1/v4")]
    first = service.compare([photo()], cards)
    loaded: list[Any] = []
    inner = service.networks._prepare

    def prepare(network: Any, *args: Any) -> Any:
        loaded.append(network.ranks)
        return inner(network, *args)

    monkeypatch.setattr(service.networks, "_prepare", prepare)
    again = service.compare([photo()], cards)
    assert len(loaded) == 1
    assert again.cards == first.cards
    for one, other in zip(first.answers, again.answers, strict=True):
        assert one[0].top[0].label == other[0].top[0].label  # pyright: ignore[reportAttributeAccessIssue]
