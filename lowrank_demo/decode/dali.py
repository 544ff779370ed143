"""Decode with NVIDIA DALI, on the CPU or the GPU.

One bad image makes DALI fail a whole batch, and the pipeline then repeats the error for ever. Headers are therefore
checked first, files that DALI does not decode exactly go to Pillow, and a failed batch is decoded again image by image
on a new pipeline.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError
from .base import CROP, EDGE, MEAN, STD, Decoded, read_header, target_size
from .pillow import PillowDecoder

with warnings.catch_warnings(record=True) as _caught:
    import nvidia.dali.fn as fn
    import nvidia.dali.types as types
    from nvidia.dali import backend
    from nvidia.dali.pipeline import Pipeline
    from nvidia.dali.plugin.pytorch import feed_ndarray
# At every start DALI 1.34 warns that its support for Python 3.12 is experimental, whatever the filters are. Users
# cannot fix that, and need not: the decoders' tests pass there, and choose_decoder tries out each decoder before use.
for _warning in _caught:
    if not re.search(r"support for Python .* is experimental", str(_warning.message)):
        warnings.showwarning(_warning.message, _warning.category, _warning.filename, _warning.lineno)

MAX_BATCH = 64
_MAX_BATCH_PIXELS = 32_000_000
"""A pipeline keeps the memory of its largest batch; a single photo may be larger."""
_MIRRORED_ROWS = frozenset({3, 4, 6, 7})
"""EXIF orientations in which the stored rows run in the opposite direction to the upright photo's axis."""
_MIRRORED_COLUMNS = frozenset({2, 3, 7, 8})
"""The same for columns."""
_SCHEMA = backend.GetSchema("decoders__Image")  # pyright: ignore[reportAttributeAccessIssue]
_AS_STORED: dict[str, Any] = {"adjust_orientation": False} if _SCHEMA.HasArgument("adjust_orientation") else {}
"""DALI 2 applies the EXIF orientation unless this argument says no; DALI 1 never does and lacks the argument."""
_MIDDLE, _JUST_BEFORE_MIDDLE = 0.5, 0.4999


@dataclass(frozen=True, eq=False)
class _File:
    position: int
    """Position in the request."""
    data: bytes
    orientation: int
    """EXIF orientation to undo, 1 to 8."""
    pixels: int


_Decode = Callable[[Sequence[_File]], Tensor]
"""Decodes at most ``MAX_BATCH`` files to upright float32 [n, 3, 227, 227]."""


class _RestartingPipeline:
    """A DALI pipeline that is rebuilt after an error, because it would repeat the error for ever."""

    def __init__(self, build: Callable[[], Pipeline]) -> None:
        self._build = build
        self._pipeline = build()

    def run(self, **inputs: Sequence[Any]) -> Any:
        """Return the output for one batch.

        Args:
            inputs: The batch of each external source, by name.

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


@dataclass(frozen=True)
class _Pipelines:
    """Builds the two pipelines of a decoder."""

    device: torch.device
    threads: int
    jpeg_unit: float

    def cropping(self) -> Pipeline:
        """Return a pipeline that decodes only the crop of photos whose shortest edge is 256."""
        pipeline = self._empty()
        with pipeline:
            files = fn.external_source(name="files", device="cpu")
            photos = fn.decoders.image_crop(files, crop=(CROP, CROP), **self._decoding())
            pipeline.set_outputs(_crop_and_normalise(photos))
        pipeline.build()
        return pipeline

    def resizing(self) -> Pipeline:
        """Return a pipeline that decodes, resizes and crops photos of any size."""
        pipeline = self._empty()
        with pipeline:
            files = fn.external_source(name="files", device="cpu")
            crop_x = fn.external_source(name="crop_x", device="cpu")
            crop_y = fn.external_source(name="crop_y", device="cpu")
            photos = fn.resize(
                fn.decoders.image(files, **self._decoding()),
                resize_shorter=float(EDGE),
                interp_type=types.DALIInterpType.INTERP_CUBIC,
                antialias=True,
                subpixel_scale=False,
            )
            pipeline.set_outputs(_crop_and_normalise(photos, crop_pos_x=crop_x, crop_pos_y=crop_y))
        pipeline.build()
        return pipeline

    def _empty(self) -> Pipeline:
        return Pipeline(
            batch_size=MAX_BATCH,
            num_threads=self.threads,
            device_id=(self.device.index or 0) if self.device.type == "cuda" else None,  # pyright: ignore[reportArgumentType]
            prefetch_queue_depth=1,
            exec_async=False,
            exec_pipelined=False,
        )

    def _decoding(self) -> dict[str, Any]:
        """Return the arguments of a decoder of photos."""
        return {
            "device": "mixed" if self.device.type == "cuda" else "cpu",
            "output_type": types.DALIImageType.RGB,
            "hw_decoder_load": self.jpeg_unit,
            # As on the CPU. nvJPEG 11, which comes with DALI 1.34, ignores it; a later one was not tried.
            "jpeg_fancy_upsampling": True,
            **_AS_STORED,
        }


class DaliDecoder:
    """Decodes with DALI, and with Pillow what DALI cannot decode. Not safe for use by several threads at once.

    Args:
        max_pixels: Larger images are refused before they are decoded.
        threads: CPU threads that decode.
        device: ``cpu``, or the CUDA device that decodes and holds the tensors.
        jpeg_unit: Share of a batch that the GPU's JPEG unit decodes, if it has one; its other cores decode the rest. On
            an H200 the unit is the faster of the two for large photos, as fast for small ones, and nearer to what the
            processor decodes (``make gpu``).
    """

    def __init__(self, max_pixels: int, threads: int, device: torch.device, jpeg_unit: float = 1.0) -> None:
        self.name = "dali-gpu" if device.type == "cuda" else "dali-cpu"
        self._device = device
        self._max_pixels = max_pixels
        self._pillow = PillowDecoder(max_pixels, threads)
        pipelines = _Pipelines(device, threads, jpeg_unit)
        self._resizing = _RestartingPipeline(pipelines.resizing)
        self._cropping = _RestartingPipeline(pipelines.cropping)

    def decode(self, images: Sequence[bytes], *, oriented: bool = True) -> Decoded:
        """See :class:`~lowrank_demo.decode.base.Decoder`."""
        refused: dict[int, ImageError] = {}
        to_resize: list[_File] = []
        to_crop: list[_File] = []
        for_pillow: list[int] = []
        for position, data in enumerate(images):
            try:
                header = read_header(data, self._max_pixels)
            except ImageError as error:
                refused[position] = error
                continue
            size = (header.width, header.height)
            file = _File(position, data, header.orientation if oriented else 1, header.width * header.height)
            if not header.dali:
                for_pillow.append(position)
            elif file.orientation == 1 and target_size(*size) == size:
                to_crop.append(file)
            else:
                to_resize.append(file)

        batches: list[Tensor] = []
        order: list[int] = []
        decoders: dict[int, str] = {}
        for files, decode in [*_batches(to_resize, self._resize_and_crop), *_batches(to_crop, self._crop)]:
            pixels, failed = self._decode_or_isolate(files, decode)
            positions = [file.position for file in files if file not in failed]
            batches.append(pixels)
            order += positions
            decoders |= dict.fromkeys(positions, self.name)
            for_pillow += [file.position for file in failed]

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

    def _decode_or_isolate(self, files: Sequence[_File], decode: _Decode) -> tuple[Tensor, list[_File]]:
        """Decode a batch, file by file if that fails.

        Returns:
            The pixels of the files that DALI can decode, in order, and the files that it cannot.
        """
        try:
            return decode(files), []
        except RuntimeError:
            if len(files) == 1:
                return _empty(0, self._device), list(files)
        alone = [self._decode_or_isolate([file], decode) for file in files]
        return torch.cat([pixels for pixels, _ in alone]), [file for _, failed in alone for file in failed]

    def _crop(self, files: Sequence[_File]) -> Tensor:
        """Decode only the crop of upright images whose shortest edge is 256."""
        return self._on_device(self._cropping.run(files=_as_arrays(files)), len(files))

    def _resize_and_crop(self, files: Sequence[_File]) -> Tensor:
        """Decode images of any size.

        Only the crop is turned upright, not the whole photo. An odd margin is rounded up in the upright photo, so it
        must be rounded down along an axis that is stored mirrored.
        """
        x = [_JUST_BEFORE_MIDDLE if file.orientation in _MIRRORED_COLUMNS else _MIDDLE for file in files]
        y = [_JUST_BEFORE_MIDDLE if file.orientation in _MIRRORED_ROWS else _MIDDLE for file in files]
        output = self._resizing.run(
            files=_as_arrays(files),
            crop_x=[np.float32(value) for value in x],
            crop_y=[np.float32(value) for value in y],
        )
        pixels = self._on_device(output, len(files))
        for i, file in enumerate(files):
            if file.orientation != 1:
                pixels[i] = _turn_upright(pixels[i], file.orientation)
        return pixels

    def _on_device(self, output: Any, count: int) -> Tensor:
        pixels = _empty(count, self._device)
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        feed_ndarray(output.as_tensor(), pixels.permute(0, 2, 3, 1), cuda_stream=stream)
        return pixels


def _crop_and_normalise(photos: Any, **position: Any) -> Any:
    """Add the last step of a pipeline; the crop is central unless ``position`` says otherwise."""
    return fn.crop_mirror_normalize(  # pyright: ignore[reportCallIssue]
        photos,
        crop=(CROP, CROP),
        mean=list(MEAN),
        std=list(STD),
        dtype=types.DALIDataType.FLOAT,
        output_layout="HWC",
        **position,
    )


def _as_arrays(files: Sequence[_File]) -> list[np.ndarray]:
    return [np.frombuffer(file.data, np.uint8) for file in files]


def _batches(files: list[_File], decode: _Decode) -> list[tuple[list[_File], _Decode]]:
    """Split files into batches that a pipeline accepts, each with the function that decodes it."""
    batches: list[list[_File]] = []
    pixels = 0
    for file in files:
        pixels += file.pixels
        if not batches or len(batches[-1]) == MAX_BATCH or pixels > _MAX_BATCH_PIXELS:
            batches.append([])
            pixels = file.pixels
        batches[-1].append(file)
    return [(batch, decode) for batch in batches]


def _empty(count: int, device: torch.device) -> Tensor:
    """Return uninitialised float32 [count, 3, 227, 227], stored channels last because the networks read it so."""
    return torch.empty(count, CROP, CROP, 3, device=device).permute(0, 3, 1, 2)


def _turn_upright(pixels: Tensor, orientation: int) -> Tensor:
    """Return a photo [3, h, w] turned upright from its EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 2)
    flips = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation, ())
    return pixels.flip(flips) if flips else pixels.clone()
