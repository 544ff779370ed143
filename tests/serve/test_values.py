"""What the values of a request may be."""

from __future__ import annotations

import math

import pytest

from lowrank_demo.errors import UsageError
from lowrank_demo.serve.values import MAX_TEXT, check_values


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("x" * (MAX_TEXT + 1), "A text has 10,001 characters; expected at most 10,000, or a photo as data:"),
        ({"x" * (MAX_TEXT + 1): 1}, "10,001 characters"),
        ([[1, 2, 3, 4]], "A list has 4 items; expected at most 3."),
        ("data:image/jpeg;base64,é" + "A" * MAX_TEXT, "A text has 10,024 characters"),
        ("half \ud800", r"A text has half of a character, U\+D800; expected whole"),
        ({"\udcff.jpg": 1}, r"U\+DCFF"),
        (math.nan, "A number is nan; expected a finite one."),
        ([{"a": -math.inf}], "A number is -inf"),
        ({"path": "http://1.2.3.4/x", "meta": {}}, "no address is fetched here"),
        ([{"image": {"path": "HTTPS://1.2.3.4/x", "meta": None}}], "no address is fetched here"),
    ],
)
def test_refused(value: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        check_values(["fine", value], 3)


def test_accepted() -> None:
    own = "http://127.0.0.1:7860/gradio_api/file=/tmp/gradio/x/photo.jpg"
    photo = {"path": "/tmp/gradio/x/photo.jpg", "url": own, "meta": {"_type": "gradio.FileData"}}
    check_values([None, True, 3, -2.5, "λ 😀", ["data:image/jpeg;base64," + "A" * 50_000], [photo], {"path": own}], 8)
