"""Values from outside, such as JSON, TOML and environment variables, checked by pydantic against frozen dataclasses.

A value that does not fit raises one of this package's errors: one sentence that names the file and the key, and says
what was found and what was expected. A validator of one field raises ``ValueError`` with what was expected, or
``Refusal`` with a sentence of its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, AllowInfNan, ConfigDict, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from ..errors import LowRankError

T = TypeVar("T")
Number = Annotated[float, Strict(), AllowInfNan(False)]
"""A finite number; neither a string nor a Boolean."""


class KnownKeys:
    """The base of a dataclass that refuses unknown keys: a misspelt key would otherwise be ignored."""

    # Python 3.10 cannot evaluate a bare ClassVar.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class Refusal(ValueError):
    """A validator raises this to word the whole sentence after the place, if one about its key's value would be odd."""


_EXPECTED = {
    "string_type": "a string",
    "string_unicode": "a string in Unicode",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "mapping_type": "keys and values",
    "dataclass_type": "keys and values",
}
"""What was expected, by pydantic's type of error; other types have a message of their own."""
_SHOWN = 120
"""Characters of a value that a message shows."""


def within(
    *, ge: float | None = None, gt: float | None = None, le: float | None = None, lt: float | None = None
) -> AfterValidator:
    """Return a validator for a number inside these bounds, whose message states all of them."""
    bounds = {"at least": ge, "more than": gt, "at most": le, "less than": lt}
    expected = ", ".join(f"{words} {bound:,}" for words, bound in bounds.items() if bound is not None)
    if ge is not None and le is not None:
        expected = f"{ge:,} to {le:,}"

    def check(value: float) -> float:
        inside = (
            (ge is None or value >= ge)
            and (gt is None or value > gt)
            and (le is None or value <= le)
            and (lt is None or value < lt)
        )
        if not inside:
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a validator for a text that matches this regular expression as a whole.

    Args:
        pattern: The regular expression.
        expected: What it means, for messages.
    """

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(expected)
        return text

    return AfterValidator(check)


def read_json(path: Path, wanted: str, error: type[LowRankError], *, format: int | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        wanted: What the file should be, for messages.
        error: Type of the errors raised.
        format: Value that the key ``format`` must have; the key is then removed. None if there is no such key.

    Raises:
        error: There is no such file, or it cannot be read, is not JSON, has a key twice, or has another format.
    """
    try:
        content = path.read_bytes()
        data = from_json(content)
    except FileNotFoundError as problem:
        raise error(f"There is no {path.name}; expected {wanted}.") from problem
    except OSError as problem:
        raise error(f"{path.name} cannot be read ({problem.strerror}); expected {wanted}.") from problem
    except ValueError as problem:
        raise error(f"{path.name} cannot be read as JSON ({problem}); expected {wanted}.") from problem
    twice = _key_twice(json.loads(content, object_pairs_hook=_Pairs))
    if twice:
        *outer, key = map(shown, _names(twice))
        place = ", ".join([path.name, *(name.strip('"') for name in outer)])
        raise error(f"{place} has {key} twice; expected each key only once: remove one of them.")
    if format is not None and isinstance(data, dict):
        found = data.pop("format", None)
        if type(found) is not int or found != format:
            has = "no format" if found is None else f"format {shown(found)}"
            raise error(f"{path.name} has {has}; expected {wanted}, of format {format}.")
    return data


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every key of the text; a dictionary keeps only the last of two that are alike."""


def _key_twice(value: object) -> tuple[str | int, ...]:
    """Return the location of the first key that appears twice in one object of this JSON value; empty if none does."""
    parts = value if isinstance(value, _Pairs) else list(enumerate(value)) if isinstance(value, list) else []
    seen: set[str | int] = set()
    for key, inner in parts:
        below = _key_twice(inner)
        if key in seen or below:
            return (key, *below)
        seen.add(key)
    return ()


def parse(kind: type[T], data: object, where: str, error: type[LowRankError], *, section: str = "{}") -> T:
    """Check data and return it as a dataclass.

    Args:
        kind: The dataclass. Its annotations say what each field must be.
        data: The data: a mapping of keys to values, if it is right.
        where: Where the data came from, for messages; empty if the keys themselves say so.
        error: Type of the error raised.
        section: How messages write the name of a nested dataclass, such as ``[{}]`` for TOML.

    Raises:
        error: A key is missing, unknown or has a wrong value; the message names it.
    """
    try:
        return _adapter(kind).validate_python(data)
    except ValidationError as problem:
        sentence = _sentence(kind, problem.errors(include_url=False)[0], where, section)
        raise error(sentence) from problem


@lru_cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _sentence(kind: type, problem: ErrorDetails, where: str, section: str) -> str:
    location = problem["loc"]
    *outer, key = _names(location) or [""]
    place = ", ".join([where, *(section.format(name) for name in outer)])
    if problem["type"] in ("missing", "missing_argument"):
        return f"{place} lacks {shown(key)}; expected a value for it."
    if problem["type"] == "unexpected_keyword_argument":
        return f"{place} has {shown(key)}; expected one of: {', '.join(_keys(kind, location[:-1]))}."
    expected = _EXPECTED.get(problem["type"]) or problem["msg"].removeprefix("Input should be ")
    if problem["type"] == "literal_error":
        expected = expected.replace("'", '"')
    if problem["type"] == "value_error" and "ctx" in problem:
        expected = problem["ctx"]["error"]
        if isinstance(expected, Refusal):
            return ": ".join(part for part in (place, str(expected)) if part)
    subject = ": ".join(part for part in (place, key) if part)
    return f"{subject} is {shown(problem['input'])}; expected {expected}."


def _names(location: Sequence[str | int]) -> list[str]:
    """Return a location's keys, outermost first; a position in a list becomes part of the list's name."""
    names: list[str] = []
    for part in location:
        if isinstance(part, str):
            names.append(part)
        else:
            names[-1:] = [" of ".join([f"item {part + 1}", *names[-1:]])]
    return names


def _keys(kind: type, location: Sequence[str | int]) -> list[str]:
    """Return the keys, as a file writes them, of the dataclass at this location inside ``kind``."""
    schema = _adapter(kind).json_schema()

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        node = node.get("anyOf", [node])[0]  # X | None
        return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    node = resolved(schema)
    for part in location:
        node = resolved(node["items"] if isinstance(part, int) else node["properties"][part])
    return list(node["properties"])


def shown(value: object) -> str:
    """Return a value as messages show it: as JSON and TOML write it, cut off if it is long."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf and nan, as in TOML: JSON has no such numbers
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number that is too long to show"
    if not text.isprintable():  # as are the characters that move a terminal's cursor
        text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
