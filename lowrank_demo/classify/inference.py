"""Classify images: the five most probable classes, and the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..data.imagenet import ImageNetClass, classes
from ..decode.base import CROP, MEAN, STD, Decoded, Decoder
from ..decode.gate import Admitted, Crop
from ..decode.markers import jpeg_cost
from ..decode.pillow import PillowDecoder, normalised
from ..errors import ImageError
from ..nn.alexnet import LowRankAlexNet
from ..nn.fuse import inference_form
from ..settings import Arithmetic

TOP = 5
"""Classes in an answer."""
BATCH = 32
"""Images that are decoded and classified together."""
_BATCH_BYTES, _BATCH_COST = 32_000_000, 90_000_000
"""A batch is also full once its files have this many bytes, or its JPEGs cost this much to decode: other requests wait
for it."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Guess:
    """A class, and the probability that the network gives it."""

    label: ImageNetClass
    probability: float


@dataclass(frozen=True)
class Time:
    """What one image took, or an equal share of the time of images handled together."""

    milliseconds: float
    images: int = 1
    """How many were handled together."""


@dataclass(frozen=True)
class Timings:
    """The times of one image."""

    decode: Time
    """Checking the header, decoding, resizing, normalising."""
    network: Time
    """Moving the batch to the device, forward pass, softmax, top 5."""


@dataclass(frozen=True)
class Prediction:
    """A network's answer for one image."""

    top: tuple[Guess, ...]
    """Five guesses, the most probable first."""
    decoder: str
    """Name of the decoder that read the image."""
    device: str
    """Device that ran the network, such as ``cpu``."""
    timings: Timings


class Classifier:
    """A network that is ready to classify.

    Args:
        network: The network with its weights. It is copied, not changed.
        device: Device to run on.
        arithmetic: Engine and precision.
    """

    def __init__(
        self,
        network: LowRankAlexNet,
        device: torch.device,
        arithmetic: Arithmetic = Arithmetic(),
    ) -> None:
        self.device = device
        self._module = _prepare(network, device, arithmetic)

    @torch.inference_mode()
    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute the logits, float32 [n, 1000] on the device, of normalised images, float32 [n, 3, 227, 227]."""
        return self._module(pixels.to(self.device, memory_format=torch.channels_last)).float()


@dataclass(frozen=True)
class DecodedPhotos:
    """Photos ready for a network, in batches."""

    batches: tuple[tuple[Decoded, Mapping[int, Time]], ...]
    """Each batch, and the time to decode each of its photos, by position."""


def decode_photos(
    contents: Iterable[Admitted], decoder: Decoder, turn: AbstractContextManager[object] | None = None
) -> DecodedPhotos:
    """Decode photos once, for any number of networks.

    Args:
        contents: The photos' bytes, taken one batch at a time; a :class:`~lowrank_demo.decode.gate.Crop` stands for a
            photo that was decoded already, and an error for one that cannot be used.
        decoder: Decodes each batch. A photo that cannot be used does not affect the others.
        turn: Held while a batch is decoded, not while its photos are taken.
    """
    batches: list[tuple[Decoded, Mapping[int, Time]]] = []
    for part in _parts(contents):
        with turn or nullcontext():
            batches.append(_decode_batch(part, decoder))
        part.clear()  # before the next is taken
    return DecodedPhotos(tuple(batches))


def _parts(contents: Iterable[Admitted]) -> Iterator[list[Admitted]]:
    """Read the photos of one batch at a time: at most ``BATCH``, and fewer if they are large."""
    part: list[Admitted] = []
    size = cost = 0
    for content in contents:
        part.append(content)
        if isinstance(content, bytes):
            size += len(content)
            cost += jpeg_cost(content)
        del content  # else it stays in memory while the next is read
        if len(part) == BATCH or size >= _BATCH_BYTES or cost >= _BATCH_COST:
            yield part
            part, size, cost = [], 0, 0
    if part:
        yield part


def answer(photos: DecodedPhotos, classifier: Classifier) -> list[Prediction | ImageError]:
    """Return one network's answer for each photo, in order; a photo that cannot be used gets its error."""
    return [one for batch in photos.batches for one in _answer_batch(*batch, classifier)]


def classify(
    contents: Iterable[bytes | ImageError], classifier: Classifier, decoder: Decoder
) -> list[Prediction | ImageError]:
    """Decode photos and answer with one network."""
    return answer(decode_photos(contents, decoder), classifier)


def network_view(photos: DecodedPhotos) -> list[np.ndarray | None]:
    """Return each photo as the networks see it, uint8 [227, 227, 3]; None where it cannot be used."""
    views: list[np.ndarray | None] = []
    for decoded, _ in photos.batches:
        row_of = {position: row for row, position in enumerate(decoded.rows)}
        for position in range(len(decoded.rows) + len(decoded.refused)):
            row = row_of.get(position)
            views.append(None if row is None else denormalised(decoded.pixels[row]))
    return views


def denormalised(pixels: torch.Tensor) -> np.ndarray:
    """Turn normalised float32 [3, h, w] back into colours, uint8 [h, w, 3]."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels.cpu() * std + mean).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def _decode_batch(contents: Sequence[Admitted], decoder: Decoder) -> tuple[Decoded, Mapping[int, Time]]:
    """Decode what is not decoded yet; rows, errors and times count positions among all contents."""
    encoded = {position: content for position, content in enumerate(contents) if isinstance(content, bytes)}
    known = {position: content for position, content in enumerate(contents) if isinstance(content, Crop)}
    refused = {position: content for position, content in enumerate(contents) if isinstance(content, ImageError)}
    decoded = Decoded(torch.empty(0, 3, CROP, CROP), (), (), {})
    began = time.perf_counter()
    if encoded:
        decoded = decoder.decode(list(encoded.values()))
        _synchronise(decoded.pixels.device)
    share = Time((time.perf_counter() - began) * 1e3 / max(1, len(encoded)), len(encoded))
    own = decoded.milliseconds
    pixels = [normalised(crop.pixels) for crop in known.values()]
    positions = list(encoded)
    times = {positions[row]: Time(own[row]) if row in own else share for row in decoded.rows}
    times |= {position: Time(crop.milliseconds) for position, crop in known.items()}
    every = Decoded(
        torch.cat([decoded.pixels, torch.stack(pixels).to(decoded.pixels.device)]) if pixels else decoded.pixels,
        (*(positions[row] for row in decoded.rows), *known),
        (*decoded.decoders, *(PillowDecoder.name for _ in known)),
        refused | {positions[row]: error for row, error in decoded.refused.items()},
    )
    return every, times


def _prepare(network: LowRankAlexNet, device: torch.device, arithmetic: Arithmetic) -> nn.Module:
    if arithmetic.engine == "openvino":
        from ..nn.openvino import openvino_form

        return openvino_form(network, arithmetic.precision)
    return inference_form(network, _DTYPES[arithmetic.precision]).to(device)


def _answer_batch(decoded: Decoded, times: Mapping[int, Time], classifier: Classifier) -> list[Prediction | ImageError]:
    answers: dict[int, Prediction | ImageError] = {**decoded.refused}
    if decoded.rows:
        began = time.perf_counter()
        probabilities = torch.softmax(classifier.logits(decoded.pixels), 1)
        values, indices = (t.tolist() for t in probabilities.topk(TOP))
        photos = len(decoded.rows)
        network = Time((time.perf_counter() - began) * 1e3 / photos, photos)
        labels = classes()
        for row, position in enumerate(decoded.rows):
            guesses = (Guess(labels[i], p) for i, p in zip(indices[row], values[row], strict=True))
            answers[position] = Prediction(
                tuple(guesses),
                decoded.decoders[row],
                _device_name(classifier.device),
                Timings(times[position], network),
            )
    return [answers[position] for position in sorted(answers)]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else "cpu"
