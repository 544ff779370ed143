"""Choosing decoder and device: the requested one or the best that works, and the reason."""

import dataclasses
import sys

import pytest
import torch

from lowrank_demo.decode.choose import choose_decoder, choose_device
from lowrank_demo.errors import SettingError
from lowrank_demo.settings import Settings

CPU = torch.device("cpu")


def test_without_dali_pillow_decodes_and_the_reason_is_given(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.delitem(sys.modules, "lowrank_demo.decode.dali", raising=False)
    choice = choose_decoder(settings, CPU)
    assert choice.decoder.name == "pillow"
    assert "DALI cannot be used" in choice.reason
    with pytest.raises(SettingError, match="LOWRANK_DECODER is dali-cpu"):
        choose_decoder(dataclasses.replace(settings, decoder="dali-cpu"), CPU)


def test_pillow_on_request(settings: Settings) -> None:
    choice = choose_decoder(dataclasses.replace(settings, decoder="pillow"), CPU)
    assert (choice.decoder.name, choice.reason) == ("pillow", "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_refused(settings: Settings) -> None:
    assert choose_device(settings) == CPU
    with pytest.raises(SettingError, match="LOWRANK_DEVICE is cuda:3"):
        choose_device(dataclasses.replace(settings, device="cuda:3"))
    with pytest.raises(SettingError, match=r"LOWRANK_DECODER is dali-gpu.*no GPU"):
        choose_decoder(dataclasses.replace(settings, decoder="dali-gpu"), CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_decoder_agrees_with_pillow(settings: Settings) -> None:
    from tests.decode.test_decoders import KINDS, levels

    gpu = choose_decoder(settings, choose_device(settings))
    assert gpu.decoder.name == "dali-gpu"
    pillow = choose_decoder(dataclasses.replace(settings, decoder="pillow"), CPU)
    data = list(KINDS.values())
    a, b = gpu.decoder.decode(data), pillow.decoder.decode(data)
    assert (levels(a.pixels.cpu()) - levels(b.pixels)).abs().mean() <= 1


def test_dali_does_not_decode_on_the_processor_beside_a_gpu(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert choose_decoder(settings, torch.device("cpu")).decoder.name == "pillow"
    with pytest.raises(SettingError, match="LOWRANK_DECODER is dali-cpu, but DALI aborts a process that uses a GPU"):
        choose_decoder(dataclasses.replace(settings, decoder="dali-cpu"), torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_reason_is_why_the_gpu_cannot_decode(settings: Settings) -> None:
    choice = choose_decoder(settings, torch.device("cuda", 0))
    assert choice.decoder.name == "pillow"
    assert "aborts" not in choice.reason
    assert "no GPU in use" not in choice.reason
