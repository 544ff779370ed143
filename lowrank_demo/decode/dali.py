"""Decoding with NVIDIA DALI, on the CPU or (``mixed``) on the GPU.

DALI fails a whole batch for one bad image and the pipeline then repeats the error for ever: headers are checked first,
what DALI does not decode exactly goes to Pillow, and a failed batch is tried again image by image on a new pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from .base import CROP, EDGE, MEAN, STD, Decoded, read_header, resized
from .pillow import PillowDecoder

MAX_BATCH = 64
_Run = Callable[[Sequence[bytes], Sequence[int]], Tensor]
_MIRRORED_ROWS = frozenset({3, 4, 6, 7})
"""EXIF orientations whose stored rows run against the upright photo's axis they lie on."""
_MIRRORED_COLUMNS = frozenset({2, 3, 7, 8})
_SCHEMA = backend.GetSchema("decoders__Image")  # pyright: ignore[reportAttributeAccessIssue]
_AS_STORED: dict[str, Any] = {"adjust_orientation": False} if _SCHEMA.HasArgument("adjust_orientation") else {}
"""DALI 2 turns photos by their EXIF orientation unless told not to; DALI 1 cannot, and does not know the argument."""
_MIDDLE, _JUST_BEFORE_MIDDLE = 0.5, 0.4999


class _Chain:
    """A pipeline that is built anew after an error, which it would repeat for ever otherwise."""

    def __init__(self, build: Callable[[], Pipeline]) -> None:
        self._build = build
        self._pipeline = build()

    def run(self, **inputs: Sequence[Any]) -> Any:
        """Its output for a batch of each input, by name.

        Raises:
            RuntimeError: DALI cannot decode one of the files.
        """
        try:
            for name, batch in inputs.items():
                self._pipeline.feed_input(name, batch)
            (output,) = self._pipeline.run()
        except RuntimeError:
            self._pipeline = self._build()
            raise
        return output


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
        self._resizing, self._cropping = _Chain(self._build_resizing), _Chain(self._build_cropping)

    def decode(self, images: Sequence[bytes], *, oriented: bool = True) -> Decoded:
        """See :class:`~lowrank_demo.decode.base.Decoder`."""
        refused: dict[int, ImageError] = {}
        to_resize: list[tuple[int, int]] = []
        of_size: list[tuple[int, int]] = []
        for_pillow: list[int] = []
        for position, data in enumerate(images):
            try:
                header = read_header(data, self._max_pixels)
            except ImageError as error:
                refused[position] = error
                continue
            orientation = header.orientation if oriented else 1
            size = (header.width, header.height)
            if header.dali and orientation == 1 and resized(*size) == size:
                of_size.append((position, orientation))
            elif header.dali:
                to_resize.append((position, orientation))
            else:
                for_pillow.append(position)

        batches: list[Tensor] = []
        order: list[int] = []
        decoders: dict[int, str] = {}
        for part, run in [*_parts(to_resize, self._resize_and_crop), *_parts(of_size, self._crop)]:
            pixels, failed = self._run_or_isolate(images, part, run)
            positions = [position for i, (position, _) in enumerate(part) if i not in failed]
            batches.append(pixels)
            order += positions
            decoders |= dict.fromkeys(positions, self.name)
            for_pillow += [part[i][0] for i in sorted(failed)]

        if for_pillow:
            rest = self._pillow.decode([images[position] for position in for_pillow], oriented=oriented)
            refused.update({for_pillow[i]: error for i, error in rest.refused.items()})
            positions = [for_pillow[row] for row in rest.rows]
            batches.append(rest.pixels.to(self._device))
            order += positions
            decoders |= dict.fromkeys(positions, self._pillow.name)

        pixels = batches[0] if len(batches) == 1 else torch.cat([_empty(0, self._device), *batches])
        rows = tuple(sorted(order))
        if rows != tuple(order):
            pixels = pixels[torch.tensor([order.index(row) for row in rows], device=self._device)]
        return Decoded(pixels, rows, tuple(decoders[row] for row in rows), refused)

    def _run_or_isolate(
        self, images: Sequence[bytes], part: Sequence[tuple[int, int]], run: _Run
    ) -> tuple[Tensor, set[int]]:
        """The pixels of the images that DALI can decode, and which of the part it cannot."""
        try:
            return run([images[i] for i, _ in part], [orientation for _, orientation in part]), set()
        except RuntimeError:
            if len(part) == 1:
                return _empty(0, self._device), {0}
        alone = [self._run_or_isolate(images, [one], run) for one in part]
        return torch.cat([pixels for pixels, _ in alone]), {i for i, (_, failed) in enumerate(alone) if failed}

    def _crop(self, images: Sequence[bytes], orientations: Sequence[int]) -> Tensor:
        """Float32 [n, 3, 227, 227] of upright images whose shortest edge is right: only the crop is decoded."""
        return self._on_device(self._cropping.run(files=_vectors(images)), len(images))

    def _resize_and_crop(self, images: Sequence[bytes], orientations: Sequence[int]) -> Tensor:
        """Float32 [n, 3, 227, 227], upright.

        The crop is turned, not the photo. An odd margin rounds up in the upright photo, so along an axis that is
        stored mirrored it must round down.
        """
        x = [_JUST_BEFORE_MIDDLE if o in _MIRRORED_COLUMNS else _MIDDLE for o in orientations]
        y = [_JUST_BEFORE_MIDDLE if o in _MIRRORED_ROWS else _MIDDLE for o in orientations]
        output = self._resizing.run(
            files=_vectors(images), crop_x=[np.float32(value) for value in x], crop_y=[np.float32(value) for value in y]
        )
        pixels = self._on_device(output, len(images))
        for i, orientation in enumerate(orientations):
            if orientation != 1:
                pixels[i] = upright(pixels[i], orientation)
        return pixels

    def _on_device(self, output: Any, count: int) -> Tensor:
        pixels = _empty(count, self._device)
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        feed_ndarray(output.as_tensor(), pixels.permute(0, 2, 3, 1), cuda_stream=stream)
        return pixels

    def _pipeline(self) -> Pipeline:
        return Pipeline(
            batch_size=MAX_BATCH,
            num_threads=self._threads,
            device_id=(self._device.index or 0) if self._device.type == "cuda" else None,  # pyright: ignore[reportArgumentType]
            prefetch_queue_depth=1,
            exec_async=False,
            exec_pipelined=False,
        )

    def _build_cropping(self) -> Pipeline:
        pipeline = self._pipeline()
        with pipeline:
            photos = fn.decoders.image_crop(
                fn.external_source(name="files", device="cpu"),
                device="mixed" if self._device.type == "cuda" else "cpu",
                output_type=types.DALIImageType.RGB,
                crop=(CROP, CROP),
                **_AS_STORED,
            )
            pipeline.set_outputs(_normalised(photos))
        pipeline.build()
        return pipeline

    def _build_resizing(self) -> Pipeline:
        gpu = self._device.type == "cuda"
        pipeline = self._pipeline()
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
            pipeline.set_outputs(_normalised(photos, crop_pos_x=crop_x, crop_pos_y=crop_y))
        pipeline.build()
        return pipeline


def _normalised(photos: Any, **position: Any) -> Any:
    """The crop of a pipeline's photos, normalised."""
    return fn.crop_mirror_normalize(  # pyright: ignore[reportCallIssue]
        photos,
        crop=(CROP, CROP),
        mean=list(MEAN),
        std=list(STD),
        dtype=types.DALIDataType.FLOAT,
        output_layout="HWC",
        **position,
    )


def _vectors(images: Sequence[bytes]) -> list[np.ndarray]:
    return [np.frombuffer(data, np.uint8) for data in images]


def _parts(work: list[tuple[int, int]], run: _Run) -> list[tuple[list[tuple[int, int]], _Run]]:
    """The work in batches that a pipeline takes, each with what does it."""
    return [(work[start : start + MAX_BATCH], run) for start in range(0, len(work), MAX_BATCH)]


def _empty(count: int, device: torch.device) -> Tensor:
    """Float32 [count, 3, 227, 227], channels last, as the networks take it: nothing is rearranged later."""
    return torch.empty(count, CROP, CROP, 3, device=device).permute(0, 3, 1, 2)


def upright(pixels: Tensor, orientation: int) -> Tensor:
    """A photo [3, h, w] stored with this EXIF orientation, turned upright."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 2)
    flips = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation, ())
    return pixels.flip(flips) if flips else pixels.clone()
