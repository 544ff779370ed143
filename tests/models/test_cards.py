"""The shipped model cards are the published figures, and are found by their ids."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lowrank_demo.errors import CardError, UnknownModel
from lowrank_demo.models.cards import Measurement, parse_card
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
        with pytest.raises(UnknownModel, match=f"to ranks {wrong}; expected .* of its weights, 7-28-"):
            zoo.get(f"scheme_2/v5@{wrong}")
    for wrong in ("", "a-1-1-1-1-1-1-1", "-1-1-1-1-1-1-1-1", "9" * 5000, "1@1", "1-2-"):
        with pytest.raises(UnknownModel, match="expected 8 numbers with '-' between them") as caught:
            zoo.get(f"scheme_2/v5@{wrong}")
        assert len(str(caught.value)) < 400


def test_a_cut_of_no_model_and_a_family_that_is_taken_are_refused(tmp_path: Path) -> None:
    data = json.loads((ASSETS / "zoo.json").read_text())
    (tmp_path / "weights").symlink_to(ASSETS / "weights")
    for change, sentence in (
        ({"version": "v9"}, 'cut 2: There is no model "bundled/scheme_2/v9"'),
        ({"ranks": [1, 2]}, r"cut 2: bundled/.* cannot be truncated to ranks 1-2; expected 8 ranks"),
        ({"version": "v1"}, "cut 2: it is listed twice, or is no cut of v1; expected each cut once"),
        ({"ranks": [7, 28, 69, 71, 88, 506, 349, 255]}, "cut 2: it is listed twice, or is no cut of v5;"),
        (data["cuts"][0], "cut 1: it is listed twice"),
    ):
        lowest = next(one for one in data["cuts"] if (one["scheme"], one["version"]) == ("scheme_2", "v5"))
        cut = {**lowest}
        (tmp_path / "zoo.json").write_text(json.dumps({**data, "cuts": [data["cuts"][0], {**cut, **change}]}))
        with pytest.raises(CardError, match=sentence):
            read_zoo(tmp_path / "zoo.json")
    folder = nested_models(tmp_path / "models")
    for family in ("published", "bundled"):
        card = json.loads((folder / "v1.card.json").read_text())
        (folder / "v1.card.json").write_text(json.dumps({**card, "family": family, "version": "mine"}))
        with pytest.raises(
            CardError, match=rf'v1\.card\.json, family: found "{family}", which is the app.s own; expected'
        ):
            read_zoo(ASSETS / "zoo.json", folder)


def test_a_cut_has_the_errors_measured_of_it_and_no_others(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "nested"))
    ranks = (2, 3, 3, 3, 3, 4, 4, 4)
    measured = Measurement(top1=50.0, top5=25.0, dataset="some photos", command="a command", images=100)
    zoo = replace(zoo, cuts=(MeasuredCut("nested", "scheme_2", "v2", ranks, measured),))
    text = "-".join(map(str, ranks))
    assert zoo.get(f"nested/scheme_2/v2@{text}").measured == (measured,)
    assert zoo.get(f"nested/scheme_2@{text}").measured == (measured,)
    assert zoo.get(f"nested/scheme_2@{text[:-1]}3").measured == ()


def test_a_cut_between_two_versions_lies_between_their_tensors(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "models"))
    large = zoo.get("nested/scheme_2/v1")
    # The product of the convolutions' ranks falls from 4·6·6·6·6 to 3·5·4·4·4.
    whole = math.log(4 * 6 * 6 * 6 * 6 / (3 * 5 * 4 * 4 * 4))
    shares = {
        (4, 6, 6, 6, 6, 6, 5, 5): {"v1": 1.0},  # no convolution is cut
        (4, 6, 6, 6, 5, 9, 8, 7): {"v1": 1.0},  # nearer to v1 than to the way from v1 to v2
        (3, 5, 5, 5, 5, 9, 8, 7): {"v1": 3 * math.log(5 / 4) / whole, "v2": 1 - 3 * math.log(5 / 4) / whole},
        (2, 5, 4, 4, 3, 1, 1, 1): {"v2": 1.0},
        (3, 5, 1, 1, 6, 1, 1, 1): {"v2": 1.0},  # one layer at v1's rank, others below v2's
    }
    for ranks, expected in shares.items():
        cut = zoo.truncated(large, ranks)
        assert {part.version: part.weight for part in cut.parts} == pytest.approx(expected)
        assert cut.version == next(iter(expected))
        for part in cut.parts:
            of = zoo.get(f"nested/scheme_2/{part.version}")
            assert part.ranks == (*map(min, of.ranks[:5], ranks[:5]), *ranks[5:])


def test_statistics_of_cuts_are_of_a_bundled_nested_file(tmp_path: Path) -> None:
    folder = nested_models(tmp_path / "models")
    card = json.loads((folder / "v1.card.json").read_text())
    card["weights"]["statistics"] = {"file": "cuts.safetensors", "sha256": "0" * 64}
    (folder / "v1.card.json").write_text(json.dumps(card))
    with pytest.raises(CardError, match=r'weights: statistics is "cuts\.safetensors"; expected a file that is in'):
        read_zoo(ASSETS / "zoo.json", folder)
    (folder / "cuts.safetensors").write_bytes(b"")
    statistics = read_zoo(ASSETS / "zoo.json", folder).get("nested/scheme_2/v1").weights.statistics
    assert statistics
    assert Path(statistics.file) == folder.resolve() / "cuts.safetensors"
    for change in ({"format": "safetensors"}, {"url": "https://example.com/a"}):
        changed = {**card, "weights": {**card["weights"], **change}}
        with pytest.raises(CardError, match=r"statistics is .*; expected null, as only nested weights without a url"):
            parse_card(changed, "card")


def test_ranks_between_and_below_nested_versions(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "models"))
    large, small = zoo.get("nested/scheme_2/v1"), zoo.get("nested/scheme_2/v2")
    between, below = (3, 5, 5, 5, 5, 7, 5, 5), (1, 5, 4, 0, 4, 6, 5, 5)
    wider = (*small.ranks[:5], 9, 8, 7)  # with the higher ranks of the linear layers, which all versions share
    for ranks, nearest in ((between, large), (below, small), (wider, small)):
        name = "-".join(map(str, ranks))
        cut = zoo.truncated(large, ranks)
        assert (cut.ranks, cut.version, cut.truncated_from) == (ranks, nearest.version, nearest.ranks)
        assert zoo.get(f"nested/scheme_2@{name}") == cut
        assert zoo.get(cut.id) == cut
        assert zoo.get(f"nested/scheme_2/v1@{name}") == cut, "the same ranks are the same network"
    plain = zoo.get("published/scheme_2/v1")
    assert zoo.truncated(plain, [1] * 8) == plain.truncated([1] * 8)
    with pytest.raises(UnknownModel, match=r"v1 cannot be.*those of its weights, 4-6-6"):
        zoo.get("nested/scheme_2@5-6-6-6-6-9-8-7")
    with pytest.raises(UnknownModel, match=r"^2 ranks came after '@'; expected 8, one for each layer\.$"):
        zoo.get("nested/scheme_2@1-2")
    with pytest.raises(UnknownModel, match=r'"published" has no nested models of scheme_2; expected a model'):
        zoo.get("published/scheme_2@1-1-1-1-1-1-1-1")
