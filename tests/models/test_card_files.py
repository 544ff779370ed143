"""A bad model card is refused by name, whatever is wrong with it."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowrank_demo.errors import CardError
from lowrank_demo.models.cards import parse_card
from lowrank_demo.models.zoo import read_zoo
from lowrank_demo.settings import ASSETS
from tests.helpers.models import own_model
from tests.helpers.strategies import JSON

CARD = json.loads((ASSETS / "zoo.json").read_text())["models"][0]


MEASURED = {"dataset": "some", "top1_error": 50.0, "top5_error": 20, "command": "validate"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scheme": "scheme_9"}, "scheme"),
        ({"ranks": [1, 2]}, "ranks"),
        ({"ranks": [1000, *CARD["ranks"][1:]]}, "ranks"),
        ({"ranks": [0, *CARD["ranks"][1:]]}, "ranks"),
        ({"lambda": "5"}, "lambda"),
        ({"lambda": True}, "lambda is true; expected a number"),
        ({"lambda": -1}, "lambda is -1; expected at least 0"),
        ({"ranks": [True, *CARD["ranks"][1:]]}, "item 1 of ranks is true; expected a whole number"),
        ({"ranks": [1.0, *CARD["ranks"][1:]]}, r"item 1 of ranks is 1\.0; expected a whole number"),
        ({"version": "../v1"}, "version"),
        ({"weights": None}, "weights is null; expected keys and values"),
        ({"weights": {**CARD["weights"], "file": "a\0b"}}, "file"),
        ({"weights": {**CARD["weights"], "file": "../../etc/passwd"}}, "file"),
        ({"weights": {**CARD["weights"], "file": "/etc/passwd"}}, "file"),
        ({"weights": {**CARD["weights"], "sha256": "12"}}, "sha256"),
        ({"weights": {**CARD["weights"], "format": "exe"}}, "format"),
        ({"weights": {**CARD["weights"], "url": "file:///etc/passwd"}}, "url"),
        ({"published": {}}, "top1_error"),
        ({"measured": [1]}, "item 1 of measured is 1; expected keys and values"),
        ({"measured": [{**MEASURED, "top1_error": 101}]}, "item 1 of measured: top1_error is 101; expected 0 to 100"),
        (
            {"published": {**CARD["published"], "top5_error": float("nan")}},
            "top5_error is nan; expected a finite number",
        ),
        ({"history": "../history.json"}, "history"),
        ({"note": None}, "note"),
    ],
)
def test_bad_card_is_refused_by_name(change: dict, named: str) -> None:
    with pytest.raises(CardError, match=named):
        parse_card({**copy.deepcopy(CARD), **change}, "zoo.json, model 1")


@settings(deadline=None)
@given(st.sampled_from(sorted(CARD)), JSON)
def test_any_value_in_any_field_is_a_card_or_a_card_error(field: str, value: object) -> None:
    try:
        parse_card({**CARD, field: value}, "here")
    except CardError as error:
        assert "here" in str(error)


def test_the_sentence() -> None:
    limits = "[96, 256, 384, 384, 256, 4096, 4096, 1000]"
    for change, sentence in (
        ({"ranks": [1, 2]}, f"ranks is [1, 2]; expected 8 whole numbers, at least 1 and at most {limits}."),
        ({"scheme": "scheme_9"}, 'scheme is "scheme_9"; expected "scheme_1" or "scheme_2".'),
    ):
        with pytest.raises(CardError) as caught:
            parse_card({**CARD, **change}, "zoo.json, model 1")
        assert str(caught.value) == f"zoo.json, model 1: {sentence}"
    with pytest.raises(CardError) as caught:
        parse_card({**CARD, "weights": {**CARD["weights"], "sha256": "12"}}, "zoo.json, model 1")
    assert str(caught.value) == 'zoo.json, model 1, weights: sha256 is "12"; expected 8 to 64 lower-case hex digits.'
    with pytest.raises(CardError) as caught:
        parse_card({"family": "own"}, "own.card.json")
    assert str(caught.value) == 'own.card.json lacks "scheme"; expected a value for it.'


def test_only_the_program_truncates_a_model() -> None:
    with pytest.raises(CardError) as caught:
        parse_card({**CARD, "truncated_from": CARD["ranks"]}, "here")
    assert str(caught.value) == (
        "here: truncated_from is not a key of model cards; name a truncated model by its id, "
        "family/scheme/version@rank-rank-…."
    )


@pytest.mark.parametrize(
    ("change", "place", "keys"),
    [
        (
            {},
            "",
            "family, scheme, version, lambda, ranks, weights, licence, provenance, note, measured, published, history",
        ),
        ({"weights": {**CARD["weights"], "odd": 1}}, ", weights", "file, sha256, format, url"),
        (
            {"published": {**CARD["published"], "odd": 1}},
            ", published",
            "top1_error, top5_error, mflops, flops_reduction",
        ),
        ({"measured": [{**MEASURED, "odd": 1}]}, ", item 1 of measured", "top1_error, top5_error, dataset, command"),
    ],
)
def test_an_unknown_key(change: dict, place: str, keys: str) -> None:
    with pytest.raises(CardError) as caught:
        parse_card({**CARD, **(change or {"odd": 1})}, "here")
    assert str(caught.value).startswith(f'here{place} has "odd"; expected one of: {keys}')


def test_an_unknown_key_beside_the_cards(tmp_path: Path) -> None:
    path, data = tmp_path / "zoo.json", json.loads((ASSETS / "zoo.json").read_text())
    for changed, place in (
        ({**data, "odd": 1}, r'zoo\.json has "odd"; expected one of: reference, models'),
        ({**data, "reference": {**data["reference"], "odd": 1}}, r'zoo\.json, reference has "odd"'),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(CardError, match=place):
            read_zoo(path)


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    own_model(tmp_path / "own")
    card = tmp_path / "own" / "own.card.json"
    assert read_zoo(ASSETS / "zoo.json", card.parent).get("own/scheme_2/mine")
    card.write_text('{"note": "",' + card.read_text()[1:])
    with pytest.raises(CardError, match=r'^own\.card\.json has "note" twice; expected each key only once'):
        read_zoo(ASSETS / "zoo.json", card.parent)
    zoo, text = tmp_path / "zoo.json", (ASSETS / "zoo.json").read_text()
    zoo.write_text(text.replace('"version": "v3"', '"version": "v3", "version": "v3"', 1))
    with pytest.raises(CardError, match=r'^zoo\.json, item 3 of models has "version" twice; expected each key only'):
        read_zoo(zoo)


def test_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "zoo.json"
    for text in (
        "",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": true}',
        '{"format": 1, "reference": {}}',
        "[" * 100_000,
        "9" * 5_000,
    ):
        path.write_text(text)
        with pytest.raises(CardError, match=r"zoo\.json"):
            read_zoo(path)
    data = json.loads((ASSETS / "zoo.json").read_text())
    data["models"] = [data["models"][0]] * 2
    path.write_text(json.dumps(data))
    with pytest.raises(CardError) as caught:
        read_zoo(path)
    assert str(caught.value) == (
        "zoo.json, model 2 describes published/scheme_1/v1, as zoo.json, model 1 does; expected each model only once: "
        "give one of them another family or version, or remove it."
    )


def test_own_cards_that_describe_one_model(tmp_path: Path) -> None:
    folder = own_model(tmp_path / "own")
    card = json.loads((folder / "own.card.json").read_text())
    (folder / "second.card.json").write_text(json.dumps(card))
    with pytest.raises(CardError, match=r"^second\.card\.json describes own/scheme_2/mine, as own\.card\.json does;"):
        read_zoo(ASSETS / "zoo.json", folder)


@pytest.mark.parametrize("file", ["nothing.safetensors", "folder", "deep/" * 1_000 + "x"])
def test_weights_that_are_not_beside_their_card(tmp_path: Path, file: str) -> None:
    folder = own_model(tmp_path / "own").resolve()
    (folder / "folder").mkdir()
    path = folder / "own.card.json"
    path.write_text(path.read_text().replace("own.safetensors", file))
    with pytest.raises(CardError) as caught:
        read_zoo(ASSETS / "zoo.json", folder)
    found, expected = str(caught.value).split("; ")
    assert found.startswith(f'own.card.json, weights: file is "{file[:100]}')
    assert expected == f"expected a file that is in {folder}."


def test_the_bundled_weights_are_not_beside_the_zoo(tmp_path: Path) -> None:
    path = tmp_path / "zoo.json"
    path.write_bytes((ASSETS / "zoo.json").read_bytes())
    with pytest.raises(CardError, match=r"^zoo\.json, model 10, weights: file is .*bundled\.safetensors.; expected"):
        read_zoo(path)
