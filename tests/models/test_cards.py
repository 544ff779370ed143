"""The shipped model cards are the published figures, and are found by their ids."""

import pytest

from lowrank_demo.errors import UnknownModel
from lowrank_demo.models.cards import Zoo
from tests.helpers.paths import sha256


def test_published_cards_are_the_reference(zoo: Zoo, published_models: list[dict]) -> None:
    assert [card.id for card in zoo if card.published] == [
        f"published/{model['scheme']}/{model['version']}" for model in published_models
    ]
    for model in published_models:
        card = zoo.get(f"{model['scheme']}/{model['version']}")
        assert card.published is not None
        assert list(card.ranks) == model["ranks"]
        assert card.lambda_ == float(model["lambda_"])
        assert card.lambda_text == model["lambda_"]
        assert (card.published_mflops, card.flops_reduction) == (model["mflops"], model["flops_reduction"])
        assert (card.published.top1, card.published.top5) == (model["top1_error"], model["top5_error"])
        assert (card.weights.url, card.weights.sha256) == (model["weights_url"], model["sha256_prefix"])
        assert card.weights.file == model["file_name"]


def test_bundled_weights_are_there_with_their_digest(zoo: Zoo) -> None:
    bundled = [card for card in zoo if card.bundled]
    assert bundled
    for card in bundled:
        assert sha256(zoo.folder / card.weights.file) == card.weights.sha256


def test_unknown_model_lists_the_known(zoo: Zoo) -> None:
    with pytest.raises(UnknownModel, match=r'"scheme_3/v1".*published/scheme_1/v1.*preview/scheme_2/v5'):
        zoo.get("scheme_3/v1")
    with pytest.raises(UnknownModel) as caught:
        zoo.get("x" * 10_000)
    assert len(str(caught.value)) < 600


def test_a_truncated_model(zoo: Zoo) -> None:
    whole = zoo.get("scheme_2/v5")
    ranks = [max(0, rank - 7) for rank in whole.ranks]
    name = f"scheme_2/v5@{'-'.join(map(str, ranks))}"
    truncated = zoo.get(name)
    assert (truncated.id, truncated.ranks, truncated.truncated_from) == (f"published/{name}", tuple(ranks), whole.ranks)
    assert truncated.published is None, "what was published holds for the whole model"
    assert truncated.cost.macs < whole.cost.macs
    assert zoo.get(truncated.id) == truncated
    for wrong in ("", "1-2", "1000-1-1-1-1-1-1-1", "a-1-1-1-1-1-1-1", "-1-1-1-1-1-1-1-1", "9" * 5000, "1@1"):
        with pytest.raises(UnknownModel, match="expected 8 ranks from 0 to its own, 7-28-") as caught:
            zoo.get(f"scheme_2/v5@{wrong}")
        assert len(str(caught.value)) < 400
