"""Choosing a decoder and a device once, at start, with the reason in words where it is not the best one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import SettingError
from ..settings import Settings
from .base import EDGE, Decoder, blank_jpeg
from .pillow import PillowDecoder


@dataclass(frozen=True)
class Choice:
    """The decoder in use, and why it is not a faster one (empty where it is the fastest)."""

    decoder: Decoder
    reason: str


def choose_device(settings: Settings) -> torch.device:
    """The device that networks run on.

    Raises:
        SettingError: A GPU was asked for and there is none.
    """
    if settings.device == "auto":
        gpu = torch.cuda.is_available() and settings.arithmetic.engine == "torch"
        return torch.device("cuda:0" if gpu else "cpu")
    device = torch.device(settings.device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"LOWRANK_DEVICE is {settings.device}, but torch sees {torch.cuda.device_count()} GPUs; set it to auto or "
            "cpu."
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def choose_decoder(settings: Settings, device: torch.device) -> Choice:
    """The decoder asked for, or the fastest one that works here: DALI on the GPU, DALI on the CPU, Pillow.

    Raises:
        SettingError: The one asked for does not work here.
    """
    max_pixels = settings.max_megapixels * 1_000_000
    if settings.decoder == "pillow":
        return Choice(PillowDecoder(max_pixels, settings.threads), "")
    reasons: list[str] = []
    wanted = {"dali-gpu": [True], "dali-cpu": [False], "auto": [True, False]}[settings.decoder]
    for gpu in wanted:
        if gpu and device.type != "cuda":
            reasons.append("no GPU in use")
            continue
        try:
            from .dali import DaliDecoder

            decoder = DaliDecoder(max_pixels, settings.threads, device if gpu else torch.device("cpu"))
            _prove(decoder)
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append(_first_line(error))
            continue
        return Choice(decoder, "")
    why = "; ".join(reasons)
    if settings.decoder != "auto":
        raise SettingError(f"LOWRANK_DECODER is {settings.decoder}, which does not work here ({why}); set it to auto.")
    return Choice(PillowDecoder(max_pixels, settings.threads), f"NVIDIA DALI cannot be used here ({reasons[-1]})")


def _prove(decoder: Decoder) -> None:
    """Decode a photo as it is and one that is resized: a DALI that imports may still not run on this machine's card."""
    decoded = decoder.decode([blank_jpeg(EDGE), blank_jpeg(EDGE + 1)])
    if decoded.decoders != (decoder.name, decoder.name):
        raise RuntimeError("DALI did not decode a test image")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
