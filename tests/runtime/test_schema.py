"""What is said of a key that is not known: the keys that are, as the file writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import ConfigDict, Field

from lowrank_demo.errors import DataError
from lowrank_demo.runtime.schema import parse


@dataclass(frozen=True)
class Part:
    """Has a key that is no name in Python."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

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
    assert str(caught.value) == f"file, {place} has 'x'; expected one of: class, size."


def test_an_unknown_key_of_a_part_itself() -> None:
    with pytest.raises(DataError, match=r"^file has 'x'; expected one of: class, size\.$"):
        parse(Part, {"x": 1}, "file", DataError)
