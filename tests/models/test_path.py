"""Paths: ordered by MACs, through every version, and only where weights can be cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from lowrank_demo.models.path import BELOW, BETWEEN, path_of
from lowrank_demo.models.zoo import Zoo, read_zoo
from lowrank_demo.settings import ASSETS
from tests.helpers.models import NESTED_RANKS, nested_models, own_model


def test_published_versions_are_not_cut(zoo: Zoo) -> None:
    path = path_of(zoo, "published", "scheme_2")
    assert [card.version for card in path] == ["v1", "v2", "v3", "v4", "v5"]
    assert not any(card.truncated_from for card in path)


def test_below_the_only_version(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", own_model(tmp_path / "own"))
    path = path_of(zoo, "own", "scheme_2")
    assert path[0].id == "own/scheme_2/mine"
    assert len(path) == 1 + BELOW
    assert all(a.cost.macs > b.cost.macs for a, b in pairwise(path))
    assert path[-1].cost.macs < 0.55 * path[0].cost.macs
    assert all(zoo.get(card.id) == card for card in path), "each has an id by which it is found"


def test_only_what_has_the_same_digest_is_cut_together(zoo: Zoo) -> None:
    """The rail loads all versions of a file at once, and checks it against the digest of one card."""
    other = zoo.get("bundled/scheme_2/v2")
    changed = replace(other, weights=replace(other.weights, sha256="0" * 64))
    zoo = replace(zoo, cards=tuple(changed if card == other else card for card in zoo))
    assert [card.version for card in path_of(zoo, "bundled", "scheme_2")] == ["v1", "v2", "v3", "v4", "v5"]
    assert zoo.truncated(zoo.get("bundled/scheme_2/v1"), [2] * 8).version == "v5"
    foreign = replace(other, family="other")
    zoo = replace(zoo, cards=(*zoo, foreign))
    assert zoo.truncated(foreign, [2] * 8).family == "other"


@pytest.mark.parametrize(("scheme", "versions"), [("scheme_1", 4), ("scheme_2", 5)])
def test_through_the_bundled_versions(zoo: Zoo, scheme: str, versions: int) -> None:
    path = path_of(zoo, "bundled", scheme)
    assert [card.version for card in path if not card.truncated_from] == [f"v{i}" for i in range(1, versions + 1)]
    assert len(path) == versions + (versions - 1) * BETWEEN + BELOW
    assert all(a.cost.macs > b.cost.macs for a, b in pairwise(path))
    assert all(zoo.get(card.id) == card for card in path), "each has an id by which it is found"


def test_between_nested_versions(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "nested"))
    path = path_of(zoo, "nested", "scheme_2")
    versions = [card.version for card in path if not card.truncated_from]
    assert versions == ["v1", "v2"]
    start, end = (next(i for i, card in enumerate(path) if card.ranks == NESTED_RANKS[name]) for name in ("v1", "v2"))
    assert start == 0
    assert 1 <= end - start - 1 <= BETWEEN
    for card in path[1:end]:
        assert all(b <= r <= a for a, r, b in zip(NESTED_RANKS["v1"], card.ranks, NESTED_RANKS["v2"], strict=True))
        assert card.id.startswith("nested/scheme_2/v1@")
    assert len({card.ranks for card in path}) == len(path)


def test_a_family_without_this_scheme(tmp_path: Path) -> None:
    zoo = read_zoo(ASSETS / "zoo.json", nested_models(tmp_path / "nested"))
    assert path_of(zoo, "nested", "scheme_1") == ()


def test_figures_as_published(zoo: Zoo, published_models: list[dict]) -> None:
    for published in published_models:
        card = zoo.get(f"{published['scheme']}/{published['version']}")
        assert zoo.mflops(card) == published["mflops"]
    assert zoo.mflops(zoo.get("bundled/scheme_2/v5")) == zoo.mflops(zoo.get("published/scheme_2/v5")) == 151


@pytest.mark.parametrize(
    ("model", "title"),
    [
        ("published/scheme_2/v5", "Scheme 2 · v5 · authors'"),
        ("bundled/scheme_1/v4", "Scheme 1 · v4 · bundled"),
        ("bundled/scheme_2/v5@6-22-55-57-70-405-279-204", "Scheme 2 · cut to 122 MFLOPs · bundled"),
    ],
)
def test_titles(zoo: Zoo, model: str, title: str) -> None:
    assert zoo.get(model).title == title
