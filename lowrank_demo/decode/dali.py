"""Decoding with NVIDIA DALI, on the CPU or (``mixed``) on the GPU.

DALI fails a whole batch for one bad image and the pipeline then repeats the error for ever: headers are checked first,
what DALI does not decode exactly goes to Pillow, and a failed batch is tried again image by image on a new pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import nvidia.dali.fn as fn
import nvidia.dali.types as types
import torch
from nvidia.dali import backend
from nvidia.dali.pipeline import Pipeline
from nvidia.dali.plugin.pytorch import feed_ndarray
from torch import Tensor

from ..errors import ImageError
from .base import CROP, EDGE, MEAN, STD, Decoded, read_header
from .pillow import PillowDecoder

MAX_BATCH = 64
_MIRRORED_ROWS = frozenset({3, 4, 6, 7})
"""EXIF orientations whose stored rows run against the upright photo's axis they lie on."""
_MIRRORED_COLUMNS = frozenset({2, 3, 7, 8})
_SCHEMA = backend.GetSchema("decoders__Image")  # pyright: ignore[reportAttributeAccessIssue]
_AS_STORED: dict[str, Any] = {"adjust_orientation": False} if _SCHEMA.HasArgument("adjust_orientation") else {}
"""DALI 2 turns photos by their EXIF orientation unless told not to; DALI 1 cannot, and does not know the argument."""
_MIDDLE, _JUST_BEFORE_MIDDLE = 0.5, 0.4999


class DaliDecoder:
    """Decodes with DALI; what it refuses goes to Pillow. Not safe for use by several threads at once.

    Args:
        max_pixels: Larger images are refused before they are decoded.
        threads: DALI's processor threads.
        device: ``cpu``, or the CUDA device to decode on and return tensors on.
    """

    def __init__(self, max_pixels: int, threads: int, device: torch.device) -> None:
        self.name = "dali-gpu" if device.type == "cuda" else "dali-cpu"
        self._device = device
        self._threads = threads
        self._max_pixels = max_pixels
        self._pillow = PillowDecoder(max_pixels, threads)
        self._pipeline = self._build()

    def decode(self, images: Sequence[bytes], *, oriented: bool = True) -> Decoded:
        """See :class:`~lowrank_demo.decode.base.Decoder`."""
        refused: dict[int, ImageError] = {}
        for_dali: list[tuple[int, int]] = []
        for_pillow: list[int] = []
        for position, data in enumerate(images):
            try:
                header = read_header(data, self._max_pixels)
            except ImageError as error:
                refused[position] = error
                continue
            if header.dali:
                for_dali.append((position, header.orientation if oriented else 1))
            else:
                for_pillow.append(position)

        done: dict[int, tuple[Tensor, str]] = {}
        for start in range(0, len(for_dali), MAX_BATCH):
            part = for_dali[start : start + MAX_BATCH]
            for (position, _), pixels in zip(part, self._run_or_isolate(images, part), strict=True):
                if pixels is None:
                    for_pillow.append(position)
                else:
                    done[position] = (pixels, self.name)

        rest = self._pillow.decode([images[position] for position in for_pillow], oriented=oriented)
        refused.update({for_pillow[i]: error for i, error in rest.refused.items()})
        for row, pixels in zip(rest.rows, rest.pixels, strict=True):
            done[for_pillow[row]] = (pixels.to(self._device), self._pillow.name)

        rows = tuple(sorted(done))
        stacked = (
            torch.stack([done[i][0] for i in rows]) if rows else torch.empty(0, 3, CROP, CROP, device=self._device)
        )
        return Decoded(stacked, rows, tuple(done[i][1] for i in rows), refused)

    def _run_or_isolate(self, images: Sequence[bytes], part: Sequence[tuple[int, int]]) -> list[Tensor | None]:
        """One tensor for each image, None where DALI cannot decode it."""
        try:
            return list(self._run([images[i] for i, _ in part], [orientation for _, orientation in part]))
        except RuntimeError:
            self._pipeline = self._build()
            if len(part) == 1:
                return [None]
        return [self._run_or_isolate(images, [one])[0] for one in part]

    def _run(self, images: Sequence[bytes], orientations: Sequence[int]) -> Tensor:
        """Float32 [n, 3, 227, 227], upright.

        The crop is turned, not the photo. An odd margin rounds up in the upright photo, so along an axis that is
        stored mirrored it must round down.
        """
        x = [_JUST_BEFORE_MIDDLE if o in _MIRRORED_COLUMNS else _MIDDLE for o in orientations]
        y = [_JUST_BEFORE_MIDDLE if o in _MIRRORED_ROWS else _MIDDLE for o in orientations]
        self._pipeline.feed_input("files", [np.frombuffer(data, np.uint8) for data in images])
        self._pipeline.feed_input("crop_x", [np.float32(value) for value in x])
        self._pipeline.feed_input("crop_y", [np.float32(value) for value in y])
        (output,) = self._pipeline.run()
        pixels = torch.empty(len(images), 3, CROP, CROP, dtype=torch.float32, device=self._device)
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        feed_ndarray(output.as_tensor(), pixels, cuda_stream=stream)
        for i, orientation in enumerate(orientations):
            if orientation != 1:
                pixels[i] = upright(pixels[i], orientation)
        return pixels

    def _build(self) -> Pipeline:
        gpu = self._device.type == "cuda"
        pipeline = Pipeline(
            batch_size=MAX_BATCH,
            num_threads=self._threads,
            device_id=(self._device.index or 0) if gpu else None,  # pyright: ignore[reportArgumentType]
            prefetch_queue_depth=1,
            exec_async=False,
            exec_pipelined=False,
        )
        with pipeline:
            files = fn.external_source(name="files", device="cpu")
            crop_x = fn.external_source(name="crop_x", device="cpu")
            crop_y = fn.external_source(name="crop_y", device="cpu")
            photos = fn.decoders.image(
                files, device="mixed" if gpu else "cpu", output_type=types.DALIImageType.RGB, **_AS_STORED
            )
            photos = fn.resize(
                photos,
                resize_shorter=float(EDGE),
                interp_type=types.DALIInterpType.INTERP_CUBIC,
                antialias=True,
                subpixel_scale=False,
            )
            pipeline.set_outputs(
                fn.crop_mirror_normalize(  # pyright: ignore[reportCallIssue]
                    photos,  # pyright: ignore[reportArgumentType]
                    crop=(CROP, CROP),
                    crop_pos_x=crop_x,
                    crop_pos_y=crop_y,
                    mean=list(MEAN),
                    std=list(STD),
                    dtype=types.DALIDataType.FLOAT,
                    output_layout="CHW",
                )
            )
        pipeline.build()
        return pipeline


def upright(pixels: Tensor, orientation: int) -> Tensor:
    """A photo [3, h, w] stored with this EXIF orientation, turned upright."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 2)
    flips = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation, ())
    return pixels.flip(flips) if flips else pixels.clone()
