"""What the page says of a model."""

from __future__ import annotations

import pytest

from lowrank_demo.models.cards import Zoo
from lowrank_demo.models.store import Where
from lowrank_demo.serve.answers import ModelStatus
from lowrank_demo.ui.present import card_label, summary_bar


@pytest.mark.parametrize(
    ("where", "bar", "label"),
    [
        ("bundled", "bundled, ready", "ready"),
        ("cached", "downloaded, ready", "ready"),
        ("to download", "to download, 46 MB", "↓ 46 MB"),
        ("missing", "weights missing", "weights missing"),
    ],
)
def test_where_the_weights_are(zoo: Zoo, where: Where, bar: str, label: str) -> None:
    status = ModelStatus(zoo.get("published/scheme_2/v5"), where)
    assert f" · {bar}</span>" in summary_bar(status)
    assert f" · {label}\n" in card_label(status)
    assert status.ready == ("ready" in bar)
