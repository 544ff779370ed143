"""What decodes and computes on this machine, found out when it is first needed."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..settings import Settings

if TYPE_CHECKING:
    import torch

    from ..decode.base import Decoder
    from ..decode.choose import Choice
    from ..decode.gate import Gate
    from ..validate.lanes import Lanes


_MOST_CHILDREN = 8
"""Child processes that decode: each may take 240 MB."""


class Machine:
    """The devices and decoders in use.

    Args:
        settings: Device, decoder, arithmetic.
        lends_gpu: Whether the host lends a GPU for single calls.
    """

    def __init__(self, settings: Settings, *, lends_gpu: bool) -> None:
        self._settings = settings
        self._lends_gpu = lends_gpu

    def check(self) -> None:
        """Check at the start that the settings work here. This takes no time if they are the default ones.

        Raises:
            SettingError: The device, the decoder or the precision that they name does not work here.
        """
        if self._settings.device != "auto":
            _ = self.device
        # A GPU that is lent is not there yet.
        if self._settings.decoder != "auto" and not self._lends_gpu:
            _ = self.decoder
        self.check_arithmetic()

    def check_arithmetic(self) -> None:
        """Check that the engine computes in the precision that the settings name.

        Raises:
            SettingError: It does not.
        """
        if self._settings.engine == "openvino":
            from ..nn.openvino import check_precision

            check_precision(self._settings.precision)

    @cached_property
    def device(self) -> torch.device:
        """Where networks run."""
        from ..decode.choose import choose_device

        return choose_device(self._settings)

    @cached_property
    def background_device(self) -> torch.device:
        """Where long passes run: never on a GPU that is lent for single calls."""
        import torch

        return torch.device("cpu") if self._lends_gpu else self.device

    @cached_property
    def decoder(self) -> Choice:
        """The decoder in use, and why."""
        from ..decode.choose import choose_decoder

        return choose_decoder(self._settings, self.device)

    @cached_property
    def gate(self) -> Gate:
        """What visitors' files pass before the decoder sees them."""
        from ..decode.gate import Gate

        return Gate(self._settings.max_megapixels * 1_000_000, min(max(2, self._settings.threads // 2), _MOST_CHILDREN))

    @cached_property
    def background_decoder(self) -> Decoder:
        """The decoder of long passes. Made once, because DALI keeps the memory of every pipeline."""
        from ..decode.choose import choose_decoder

        return choose_decoder(self._settings, self.background_device).decoder

    def lanes(self) -> Lanes:
        """Return how to divide a long pass: only torch on a processor gains from several lanes."""
        import torch

        from ..validate.lanes import Lanes, divided

        threads = torch.get_num_threads()
        by_torch = self.background_device.type == "cpu" and self._settings.arithmetic.engine == "torch"
        return divided(threads) if by_torch else Lanes(1, threads)

    def lane_decoders(self, count: int) -> list[Decoder]:
        """Return a decoder for each lane of a long pass, with a share of the threads, at least one, each.

        Those of several lanes are made anew: a process that has lanes makes one pass.
        """
        from ..decode.choose import choose_decoder

        if count == 1:
            return [self.background_decoder]
        shared = replace(self._settings, threads=max(1, self._settings.threads // count))
        return [choose_decoder(shared, self.background_device).decoder for _ in range(count)]

    def note(self) -> str:
        """Say in a sentence what decodes and computes here, and why nothing faster does."""
        choice = self.decoder
        why = f": {choice.reason}" if choice.reason else ""
        by = self._settings.arithmetic
        return (
            f"Photos are decoded by {choice.decoder.name}{why}; networks are computed by {by.engine} in {by.precision} "
            f"on {self.device}."
        )
