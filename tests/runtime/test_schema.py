"""What is said of a key that is not known or stands twice, and how messages show values."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from lowrank_demo.errors import DataError
from lowrank_demo.runtime.schema import KnownKeys, parse, read_json, shown


@dataclass(frozen=True)
class Part(KnownKeys):
    """Has a key that is no name in Python."""

    class_: Annotated[int, Field(alias="class")] = 0
    size: int = 0


@dataclass(frozen=True)
class Whole:
    """Reaches the parts by a key of another name, in a list and where there may be none."""

    one: Annotated[Part, Field(alias="first-part")]
    parts: tuple[Part, ...] = ()
    other: Part | None = None


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"first-part": {"x": 1}}, "first-part"),
        ({"first-part": {}, "parts": [{}, {"x": 1}]}, "item 2 of parts"),
        ({"first-part": {}, "other": {"x": 1}}, "other"),
    ],
)
def test_an_unknown_key(data: dict[str, Any], place: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(Whole, data, "file", DataError)
    assert str(caught.value) == f'file, {place} has "x"; expected one of: class, size.'


def test_an_unknown_key_of_a_part_itself() -> None:
    with pytest.raises(DataError, match=r'^file has "x"; expected one of: class, size\.$'):
        parse(Part, {"x": 1}, "file", DataError)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1, "b": 2, "a": 1}', 'some.json has "a"'),
        ('{"list": [{"a": 1}, {"b": {"c": 1, "c": 2}}]}', 'some.json, item 2 of list, b has "c"'),
        ('[{"a": 1}, {"a": 1, "a": 2}]', 'some.json, item 2 has "a"'),
        ('{"a": {"b": 1, "b": 2}, "a": 3}', 'some.json, a has "b"'),
        ('{"": 1, "": 2}', 'some.json has ""'),
        (r'{"a": 1, "\u0061": 2}', 'some.json has "a"'),
        (r'{"\u001b[2J": {"a": 1, "a": 2}}', r'some.json, \u001b[2J has "a"'),
    ],
)
def test_a_key_that_stands_twice(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_json(path, "a file", DataError)
    assert str(caught.value) == f"{found} twice; expected each key only once: remove one of them."


def test_a_key_that_stands_in_two_places(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text('[{"a": 1}, {"a": {"a": ' + "9" * 4_300 + "}}]")
    assert [list(item) for item in read_json(path, "a file", DataError)] == [["a"], ["a"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("it's λ", '"it\'s λ"'),
        (1e-30, "1e-30"),
        (float("-inf"), "-inf"),
        (["x", (1, None)], '["x", [1, null]]'),
        ({"a": False}, '{"a": false}'),
        ("go\u202e\x9b2J", r'"go\u202e\u009b2J"'),
        ("x" * 500, '"' + "x" * 119 + "…"),
        pytest.param(10**5_000, "a number that is too long to show", id="long"),
        (datetime.date(1979, 5, 27), '"1979-05-27"'),
    ],
)
def test_a_value_is_shown_as_json_and_toml_write_it(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_file_of_another_format(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    for text, found in (("{}", "no format"), ('{"format": "1"}', 'format "1"'), ('{"format": true}', "format true")):
        path.write_text(text)
        with pytest.raises(DataError) as caught:
            read_json(path, "a file", DataError, format=1)
        assert str(caught.value) == f"some.json has {found}; expected a file, of format 1."
