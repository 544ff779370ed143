"""Model cards: the shipped ones are the published figures, and a bad one is refused by name."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_demo.errors import CardError, UnknownModel
from lowrank_demo.settings import ASSETS
from lowrank_demo.zoo import Zoo, parse_card, read_zoo

from .conftest import JSON, sha256

CARD = json.loads((ASSETS / "zoo.json").read_text())["models"][0]


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
    with pytest.raises(UnknownModel, match=r"'scheme_3/v1'.*published/scheme_1/v1.*preview/scheme_2/v5"):
        zoo.get("scheme_3/v1")
    with pytest.raises(UnknownModel) as caught:
        zoo.get("x" * 10_000)
    assert len(str(caught.value)) < 600


def test_a_cut_model(zoo: Zoo) -> None:
    whole = zoo.get("scheme_2/v5")
    ranks = [max(0, rank - 7) for rank in whole.ranks]
    name = f"scheme_2/v5@{'-'.join(map(str, ranks))}"
    cut = zoo.get(name)
    assert (cut.id, cut.ranks, cut.cut_from) == (f"published/{name}", tuple(ranks), whole.ranks)
    assert cut.published is None, "what was published holds for the whole model"
    assert cut.cost.macs < whole.cost.macs
    assert zoo.get(cut.id) == cut
    for wrong in ("", "1-2", "1000-1-1-1-1-1-1-1", "a-1-1-1-1-1-1-1", "-1-1-1-1-1-1-1-1", "9" * 5000, "1@1"):
        with pytest.raises(UnknownModel, match="expected 8 ranks from 0 to its own, 7-28-") as caught:
            zoo.get(f"scheme_2/v5@{wrong}")
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scheme": "scheme_9"}, "scheme"),
        ({"ranks": [1, 2]}, "ranks"),
        ({"ranks": [1000, *CARD["ranks"][1:]]}, "ranks"),
        ({"ranks": [0, *CARD["ranks"][1:]]}, "ranks"),
        ({"lambda": "5"}, "lambda"),
        ({"version": "../v1"}, "version"),
        ({"weights": {**CARD["weights"], "file": "../../etc/passwd"}}, "file"),
        ({"weights": {**CARD["weights"], "file": "/etc/passwd"}}, "file"),
        ({"weights": {**CARD["weights"], "sha256": "12"}}, "sha256"),
        ({"weights": {**CARD["weights"], "format": "exe"}}, "format"),
        ({"weights": {**CARD["weights"], "url": "file:///etc/passwd"}}, "url"),
        ({"published": {}}, "top1_error"),
        ({"pre_shrink": 1}, "pre_shrink"),
        ({"measured": [1]}, "measured"),
        ({"note": None}, "note"),
    ],
)
def test_bad_card_is_refused_by_name(change: dict, named: str) -> None:
    with pytest.raises(CardError, match=named):
        parse_card({**copy.deepcopy(CARD), **change}, "zoo.json, model 1")


@given(st.sampled_from(sorted(CARD)), JSON)
def test_any_value_in_any_field_is_a_card_or_a_card_error(field: str, value: object) -> None:
    try:
        parse_card({**CARD, field: value}, "here")
    except CardError as error:
        assert "here" in str(error)


def test_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "zoo.json"
    for text in ("", "[]", "{}", '{"format": 2}', '{"format": 1, "reference": {}}'):
        path.write_text(text)
        with pytest.raises(CardError, match=r"zoo\.json"):
            read_zoo(path)
    data = json.loads((ASSETS / "zoo.json").read_text())
    data["models"].append(data["models"][0])
    path.write_text(json.dumps(data))
    with pytest.raises(CardError, match="published/scheme_1/v1 twice"):
        read_zoo(path)
