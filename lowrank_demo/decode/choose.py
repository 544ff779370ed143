"""Choose the decoder and the device, once at start; say why if the fastest decoder cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import SettingError
from ..runtime.words import counted
from ..settings import Settings
from .base import EDGE, Decoder, blank_jpeg
from .pillow import PillowDecoder


@dataclass(frozen=True)
class Choice:
    """The chosen decoder, and why no faster one is used (empty if the choice was the user's or the fastest)."""

    decoder: Decoder
    reason: str


def choose_device(settings: Settings) -> torch.device:
    """Return the device that networks run on.

    Raises:
        SettingError: The settings name a GPU that does not exist.
    """
    if settings.device == "auto":
        gpu = torch.cuda.is_available() and settings.arithmetic.engine == "torch"
        return torch.device("cuda:0" if gpu else "cpu")
    device = torch.device(settings.device)
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise SettingError(
            f"LOWRANK_DEVICE is {settings.device}, but torch finds {counted(gpus, 'GPU')}; set it to auto or cpu."
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def choose_decoder(settings: Settings, device: torch.device) -> Choice:
    """Return the decoder that the settings name, or the fastest that works here.

    DALI, on the device that networks run on, comes before Pillow.

    Raises:
        SettingError: The decoder that the settings name does not work here.
    """
    max_pixels = settings.max_megapixels * 1_000_000
    if settings.decoder == "pillow":
        return Choice(PillowDecoder(max_pixels, settings.threads), "")
    reasons: list[str] = []
    wanted = {"dali-gpu": [True], "dali-cpu": [False], "auto": [True, False]}[settings.decoder]
    if device.type == "cuda" or torch.cuda.is_initialized():
        # Seen with DALI 1.34 on an H200: "terminate called without an active exception".
        if settings.decoder == "dali-cpu":
            raise SettingError(
                "LOWRANK_DECODER is dali-cpu, but DALI aborts a process that uses a GPU when it closes a CPU pipeline; "
                "set LOWRANK_DECODER to auto, or LOWRANK_DEVICE to cpu."
            )
        wanted = [True]
    for gpu in wanted:
        if gpu and device.type != "cuda":
            reasons.append("no GPU in use")
            continue
        try:
            from .dali import DaliDecoder

            decoder = DaliDecoder(max_pixels, settings.threads, device if gpu else torch.device("cpu"))
            _try_out(decoder)
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append(_first_line(error))
            continue
        return Choice(decoder, "")
    why = "; ".join(reasons)
    if settings.decoder != "auto":
        raise SettingError(f"LOWRANK_DECODER is {settings.decoder}, which does not work here ({why}); set it to auto.")
    return Choice(PillowDecoder(max_pixels, settings.threads), f"NVIDIA DALI cannot be used here ({reasons[-1]})")


def _try_out(decoder: Decoder) -> None:
    """Decode one photo without and one with resizing: a DALI that imports may still not run on this GPU."""
    decoded = decoder.decode([blank_jpeg(EDGE), blank_jpeg(EDGE + 1)])
    if decoded.decoders != (decoder.name, decoder.name):
        raise RuntimeError("DALI did not decode a test image")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
