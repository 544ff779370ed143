"""Classify images: the five most probable classes, and the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..data.imagenet import ImageNetClass, classes
from ..decode.base import Decoded, Decoder
from ..errors import ImageError
from ..nn.alexnet import LowRankAlexNet
from ..nn.fuse import inference_form
from ..settings import Arithmetic

TOP = 5
"""Classes in an answer."""
BATCH = 32
"""Images that are decoded and classified together."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Guess:
    """A class, and the probability that the network gives it."""

    label: ImageNetClass
    probability: float


@dataclass(frozen=True)
class Timings:
    """Milliseconds for one image: its share of the time of its batch."""

    decode: float
    """Checking the header, decoding, resizing, normalising."""
    network: float
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
        pre_shrink: The model card's ``pre_shrink``.
        device: Device to run on.
        arithmetic: Engine and precision.
    """

    def __init__(
        self,
        network: LowRankAlexNet,
        pre_shrink: int | None,
        device: torch.device,
        arithmetic: Arithmetic = Arithmetic(),
    ) -> None:
        self.device = device
        self._module = _prepare(network, pre_shrink, device, arithmetic)

    @torch.inference_mode()
    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute the logits, float32 [n, 1000] on the device, of normalised images, float32 [n, 3, 227, 227]."""
        return self._module(pixels.to(self.device, memory_format=torch.channels_last)).float()


@dataclass(frozen=True)
class DecodedPhotos:
    """Photos that are decoded for a network."""

    batches: tuple[tuple[Decoded, float], ...]
    """Each batch, and the milliseconds that decoding took for one of its images."""


def decode_photos(images: Sequence[bytes], decoder: Decoder) -> DecodedPhotos:
    """Decode images for any number of networks. An image that cannot be read does not affect the others."""
    batches: list[tuple[Decoded, float]] = []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        began = time.perf_counter()
        decoded = decoder.decode(part)
        _synchronise(decoded.pixels.device)
        batches.append((decoded, (time.perf_counter() - began) * 1e3 / len(part)))
    return DecodedPhotos(tuple(batches))


def answer(photos: DecodedPhotos, classifier: Classifier) -> list[Prediction | ImageError]:
    """Return one network's answer for each image, in order; for an image that could not be read, its error."""
    return [one for decoded, decode_ms in photos.batches for one in _answer_batch(decoded, decode_ms, classifier)]


def classify(images: Sequence[bytes], classifier: Classifier, decoder: Decoder) -> list[Prediction | ImageError]:
    """Decode images and classify them with one network; see :func:`answer`."""
    return answer(decode_photos(images, decoder), classifier)


def _prepare(
    network: LowRankAlexNet, pre_shrink: int | None, device: torch.device, arithmetic: Arithmetic
) -> nn.Module:
    if arithmetic.engine == "openvino":
        from ..nn.openvino import openvino_form

        return openvino_form(network, pre_shrink, arithmetic.precision)
    return inference_form(network, pre_shrink, _DTYPES[arithmetic.precision]).to(device)


def _answer_batch(decoded: Decoded, decode_ms: float, classifier: Classifier) -> list[Prediction | ImageError]:
    answers: dict[int, Prediction | ImageError] = {**decoded.refused}
    if decoded.rows:
        began = time.perf_counter()
        probabilities = torch.softmax(classifier.logits(decoded.pixels), 1)
        values, indices = (t.tolist() for t in probabilities.topk(TOP))
        network_ms = (time.perf_counter() - began) * 1e3
        timings = Timings(decode_ms, network_ms / len(decoded.rows))
        labels = classes()
        for row, position in enumerate(decoded.rows):
            guesses = (Guess(labels[i], p) for i, p in zip(indices[row], values[row], strict=True))
            answers[position] = Prediction(
                tuple(guesses), decoded.decoders[row], _device_name(classifier.device), timings
            )
    return [answers[position] for position in sorted(answers)]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else "cpu"
