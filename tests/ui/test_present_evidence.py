"""Pictures of where an answer comes from: lit where the weight lies, dark elsewhere, names escaped."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from lowrank_demo.classify.occlusion import Occlusion
from lowrank_demo.data.imagenet import ImageNetClass
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.ui.present_evidence import evidence_view


def test_lit_where_the_weight_lies(zoo: Zoo) -> None:
    weight = np.full((227, 227), -0.1, np.float32)
    weight[60:120, 60:120] = 0.5
    label = ImageNetClass(7, "n01514668", "<cock>", ("cock",))
    cards = [zoo.get("scheme_1/v1"), zoo.get("bundled/scheme_2/v5")]
    photo = np.full((227, 227, 3), (200, 40, 40), np.uint8)
    shown = evidence_view(photo, cards, [Occlusion(label, 0.9, weight), Occlusion(label, 0.2, weight * 0)])
    assert "<cock>" not in shown
    assert "&lt;cock&gt;, 90 %" in shown
    assert "lowers this by 50 points" in shown
    assert "No single part decides" in shown
    lit, dark = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]+)", shown)
    )
    assert lit[90, 90, 0] > 150, "smoothed, but nearly as it was"
    assert lit[90, 90, 1] < 50
    assert len(set(lit[200, 200])) == 1, "grey"
    assert lit[200, 200, 0] < 40
    assert np.array_equal(dark, np.broadcast_to(dark[0, 0], dark.shape)), "nothing stands out"
