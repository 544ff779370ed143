"""The shipped model cards are the published figures, and are found by their ids."""

from dataclasses import replace
from pathlib import Path

import pytest

from lowrank_demo.errors import UnknownModel
from lowrank_demo.models.cards import Measurement
from lowrank_demo.models.zoo import MeasuredCut, Zoo, read_zoo
from lowrank_demo.settings import ASSETS
from tests.helpers.models import nested_models
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
    with pytest.raises(UnknownModel, match=r'"scheme_3/v1".*published/scheme_1/v1.*bundled/scheme_2/v5'):
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
    assert whole.truncated(whole.ranks) is whole, "nothing is cut at its own ranks"
    bundled = zoo.get("bundled/scheme_2/v5")
    assert zoo.get(f"bundled/scheme_2/v5@{'-'.join(map(str, bundled.ranks))}") == bundled
    for wrong in ("1-2", "1000-1-1-1-1-1-1-1"):
        with pytest.raises(UnknownModel, match=f"to ranks {wrong}; expected 8 ranks from 0 to its own, 7-28-"):
            zoo.get(f"scheme_2/v5@{wrong}")
    for wrong in ("", "a-1-1-1-1-1-1-1", "-1-1-1-1-1-1-1-1", "9" * 5000, "1@1", "1-2-"):
        with pytest.raises(UnknownModel, match="expected 8 numbers with '-' between them") as caught:
            zoo.get(f"scheme_2/v5@{wrong}")
        assert len(str(caught.value)) < 400


def test_a_cut_has_the_errors_measured_of_it_and_no_others(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "nested"))
    ranks = (2, 3, 3, 3, 3, 4, 4, 4)
    measured = Measurement(top1=50.0, top5=25.0, dataset="some photos", command="a command", images=100)
    zoo = replace(zoo, cuts=(MeasuredCut("nested", "scheme_2", "v2", ranks, measured),))
    text = "-".join(map(str, ranks))
    assert zoo.get(f"nested/scheme_2/v2@{text}").measured == (measured,)
    # The same ranks of another version: its own biases and statistics make another network.
    assert zoo.get(f"nested/scheme_2/v1@{text}").measured == ()


def test_ranks_between_and_below_nested_versions(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "models"))
    large, small = zoo.get("nested/scheme_2/v1"), zoo.get("nested/scheme_2/v2")
    for ranks, nearest in (((4, 5, 4, 4, 4, 7, 5, 5), large), ((1, 5, 4, 0, 4, 6, 5, 5), small)):
        name = "-".join(map(str, ranks))
        assert zoo.truncated(large, ranks) == nearest.truncated(ranks)
        assert zoo.get(f"nested/scheme_2@{name}") == nearest.truncated(ranks)
        assert zoo.get(f"nested/scheme_2/v1@{name}") == large.truncated(ranks), "a version that is named is taken"
    plain = zoo.get("published/scheme_2/v1")
    assert zoo.truncated(plain, [1] * 8) == plain.truncated([1] * 8)
    with pytest.raises(UnknownModel, match=r"v1 cannot be.*to its own, 4-6-6"):
        zoo.get("nested/scheme_2@5-6-6-6-6-9-8-7")
    with pytest.raises(UnknownModel, match=r"^2 ranks came after '@'; expected 8, one for each layer\.$"):
        zoo.get("nested/scheme_2@1-2")
    with pytest.raises(UnknownModel, match=r'"published" has no nested models of scheme_2; expected a model'):
        zoo.get("published/scheme_2@1-1-1-1-1-1-1-1")
