"""A bad model card is refused by name, whatever is wrong with it."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowrank_demo.errors import CardError
from lowrank_demo.models.cards import parse_card, read_zoo
from lowrank_demo.settings import ASSETS
from tests.helpers.strategies import JSON

CARD = json.loads((ASSETS / "zoo.json").read_text())["models"][0]


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
