"""What decodes and computes: said in a sentence, and kept off a GPU that is lent for single calls."""

from __future__ import annotations

import dataclasses

import openvino
import pytest
import torch

from lowrank_demo.errors import SettingError
from lowrank_demo.serve.machine import Machine
from lowrank_demo.settings import Settings
from lowrank_demo.validate.lanes import Lanes, divided


def test_the_note(settings: Settings) -> None:
    machine = Machine(dataclasses.replace(settings, decoder="pillow", device="cpu"), lends_gpu=False)
    assert machine.note() == "Photos are decoded by pillow; networks are computed by torch in fp32 on cpu."


def test_long_passes_stay_off_a_gpu_that_is_lent(settings: Settings) -> None:
    elsewhere = dataclasses.replace(settings, device="cuda:99")
    assert Machine(elsewhere, lends_gpu=True).background_device.type == "cpu"
    with pytest.raises(SettingError, match="cuda:99"):
        _ = Machine(elsewhere, lends_gpu=False).background_device


def test_the_decoder_of_long_passes_is_made_once(settings: Settings) -> None:
    machine = Machine(settings, lends_gpu=True)
    assert machine.background_decoder is machine.background_decoder
    assert machine.lane_decoders(1) == [machine.background_decoder]


def test_lanes_share_the_threads(settings: Settings) -> None:
    machine = Machine(dataclasses.replace(settings, device="cpu", threads=6), lends_gpu=False)
    assert machine.lanes() == divided(torch.get_num_threads())
    one, other = machine.lane_decoders(2)
    assert one is not other
    assert one.name == machine.background_decoder.name
    elsewhere = Machine(dataclasses.replace(settings, device="cpu", engine="openvino"), lends_gpu=False)
    assert elsewhere.lanes() == Lanes(1, torch.get_num_threads())


@pytest.mark.parametrize(
    "named", [{"device": "cuda:99"}, {"decoder": "dali-gpu", "device": "cpu"}, {"device": "cuda:99", "decoder": "auto"}]
)
def test_what_is_named_and_not_here_is_refused_at_start(settings: Settings, named: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=r"^LOWRANK_(DEVICE|DECODER) is (cuda:99|dali-gpu), .*; set it to auto"):
        Machine(dataclasses.replace(settings, **named), lends_gpu=False).check()  # pyright: ignore[reportArgumentType]


def test_a_lent_gpu_is_not_looked_for_at_start(settings: Settings) -> None:
    Machine(dataclasses.replace(settings, decoder="dali-gpu"), lends_gpu=True).check()
    Machine(settings, lends_gpu=False).check()


def test_a_precision_that_the_engine_lacks_is_refused_at_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    asked = dataclasses.replace(settings, engine="openvino", precision="bf16")
    with pytest.raises(SettingError, match="LOWRANK_PRECISION is bf16, which this CPU does not multiply"):
        Machine(asked, lends_gpu=False).check()
    Machine(dataclasses.replace(asked, precision="fp32"), lends_gpu=False).check()
    Machine(dataclasses.replace(asked, engine="torch"), lends_gpu=False).check()
