"""What a measurement says, and that the material is what the program is fed in life."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.models.zoo import Zoo
from tests.bench.__main__ import outcome_text
from tests.bench.material import jpegs, published, random_classifier, write_lmdb
from tests.bench.measure import Finding, Outcome, Result, interleaved, matrix_product
from tests.bench.networks import Passes, as_the_command, overlap_of, smallest, straight_line


def test_ratio_and_goal() -> None:
    slow = Result("one pass", 3.0, 2.0, "s", "the limit", 1.1)
    assert (slow.ratio, slow.reached) == (1.5, False)
    assert "ratio 1.50 (goal ≤ 1.1, missed)" in outcome_text(slow)
    fast = Result("build", 90.0, 30.0, "images/s", "the rival", 3.0, at_least=True)
    assert fast.reached
    assert "ratio 3.00 (goal ≥ 3, reached)" in outcome_text(fast)


def test_photos_are_distinct_and_ready(tmp_path: Path) -> None:
    made = jpegs(12)
    assert len(set(made)) == 12
    for data in made:
        assert min(Image.open(io.BytesIO(data)).size) == 256
    assert min(Image.open(io.BytesIO(jpegs(1, edge=640)[0])).size) == 640
    write_lmdb(tmp_path / "photos.lmdb", made, 30)
    with LmdbReader(tmp_path / "photos.lmdb") as reader:
        assert len(reader) == 30
        assert reader[13].image == made[1]


def test_the_nine_models_are_measured_with_their_own_macs(zoo: Zoo, tmp_path: Path) -> None:
    assert len(published(zoo)) == 9
    assert smallest(zoo).id == "published/scheme_2/v5"
    write_lmdb(tmp_path / "photos.lmdb", jpegs(4), 10)
    with LmdbReader(tmp_path / "photos.lmdb") as reader:
        done: list[int] = []
        Passes.by().over(reader, [("small", random_classifier(smallest(zoo)))], 10, lambda one: done.append(one.done))
    assert done[-1] == 10


def the_smallest(zoo: Zoo, file: Path, images: int) -> Iterator[Outcome]:
    return overlap_of("small", [smallest(zoo)], file, images)


def test_a_validation_beside_its_processor_time(zoo: Zoo, tmp_path: Path) -> None:
    """In a process of its own, as the bench measures it."""
    write_lmdb(tmp_path / "photos.lmdb", jpegs(4), 80)
    *findings, result = as_the_command(the_smallest, zoo, tmp_path / "photos.lmdb", 80)
    assert [type(one) for one in findings] == [Finding] * 3
    assert isinstance(result, Result)
    assert 0.2 < result.ratio < 2


def test_work_is_timed() -> None:
    product, macs = matrix_product(size=512)
    assert macs == 8 * 512**3
    calls: list[str] = []
    a, b = interleaved([lambda: calls.append("a"), lambda: (calls.append("b"), product())], repeats=2)
    assert calls == ["a", "b"] * 3
    assert b > a > 0


def test_a_straight_line_has_its_slope() -> None:
    slope, straight = straight_line("time", [1, 2, 4], [0.5, 0.7, 1.1], "ms", 1e3)
    assert slope.value == pytest.approx(200)  # pyright: ignore[reportAttributeAccessIssue]
    assert straight.ratio == pytest.approx(1.0)  # pyright: ignore[reportAttributeAccessIssue]
    _, bent = straight_line("time", [1, 2, 4], [0.5, 1.0, 1.1], "ms", 1e3)
    assert not bent.reached  # pyright: ignore[reportAttributeAccessIssue]
