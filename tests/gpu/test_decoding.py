"""DALI on the GPU against DALI on the processor and Pillow: pixels, decisions, orientation, refused files."""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch
from PIL import Image

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.decode.base import STD, Decoded, Decoder
from lowrank_demo.decode.pillow import PillowDecoder
from lowrank_demo.lowrank.load import fetch_network
from lowrank_demo.models.store import WeightStore
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.settings import Settings
from tests.bench.material import CPU, enlarged
from tests.gpu.conftest import GPU
from tests.helpers.photos import encoded

dali = pytest.importorskip("lowrank_demo.decode.dali", reason="DALI is not installed")
pytestmark = pytest.mark.gpu

MAX_PIXELS = 64_000_000
LEVELS = torch.tensor(STD).view(3, 1, 1)


@pytest.fixture(scope="module")
def decoder(device: torch.device) -> Decoder:
    return dali.DaliDecoder(MAX_PIXELS, 4, device)


class DaliInAnotherProcess:
    """DALI on the processor, in a process that sees no GPU: beside one it aborts when a pipeline is closed."""

    name = "dali-cpu"

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def decode(self, images: Sequence[bytes], *, oriented: bool = True) -> Decoded:
        pixels, *rest = self._pool.submit(_decode_on_the_processor, images, oriented).result()
        return Decoded(torch.from_numpy(pixels), *rest)


def _decode_on_the_processor(images: Sequence[bytes], oriented: bool) -> tuple[Any, ...]:
    decoded = dali.DaliDecoder(MAX_PIXELS, 4, CPU).decode(images, oriented=oriented)
    return decoded.pixels.numpy(), decoded.rows, decoded.decoders, decoded.refused


def _hide_gpus() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="module")
def references() -> Iterator[list[Decoder]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_hide_gpus) as pool:
        yield [DaliInAnotherProcess(pool), PillowDecoder(MAX_PIXELS, 4)]


def levels_apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the mean distance of each image's pixels, in levels of 255."""
    return ((a.cpu() - b.cpu()) * LEVELS).abs().mean((1, 2, 3))


@pytest.mark.parametrize("edge", [256, 640])
def test_pixels_and_decisions(
    edge: int, records: list[Record], decoder: Decoder, references: list[Decoder], zoo: Zoo, settings: Settings
) -> None:
    images = [record.image for record in records]
    if edge != 256:
        images = [enlarged(image, edge) for image in images]
    card = zoo.get("bundled/scheme_2/v5")
    classifier = Classifier(fetch_network(WeightStore.from_settings(settings), card), CPU)
    found = decoder.decode(images, oriented=False)
    assert found.decoders == (decoder.name,) * len(images)
    assert decoder.name == ("dali-gpu" if GPU else "dali-cpu")
    decided = classifier.logits(found.pixels.cpu())
    for reference in references:
        wanted = reference.decode(images, oriented=False).pixels
        apart, logits = levels_apart(found.pixels, wanted), classifier.logits(wanted)
        same = (decided.argmax(1) == logits.argmax(1)).float().mean()
        print(
            f"edge {edge}, {decoder.name} against {reference.name}: {apart.mean():.3f} levels apart, at most "
            f"{apart.max():.3f} in an image; logits {(decided - logits).abs().mean():.4f} apart; {100 * same:.2f} % of "
            f"{len(images)} decisions the same"
        )
        assert apart.mean() < 1.5
        assert apart.max() < 4
        assert same >= 0.97


def test_orientations(records: list[Record], decoder: Decoder, references: list[Decoder]) -> None:
    photo = Image.open(io.BytesIO(records[0].image)).convert("RGB").resize((301, 417))
    images: list[bytes] = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        images.append(encoded(photo, "JPEG", quality=95, exif=exif))
    found = decoder.decode(images)
    assert found.decoders == (decoder.name,) * 8
    for reference in references:
        assert levels_apart(found.pixels, reference.decode(images).pixels).max() < 4


def test_bad_files_do_not_affect_the_others(records: list[Record], decoder: Decoder, references: list[Decoder]) -> None:
    good = records[0].image
    photo = Image.open(io.BytesIO(good)).convert("RGB")
    files: list[bytes] = [good, b"no image", good[: len(good) // 2]]
    for kind, mode in (("PNG", "RGBA"), ("JPEG", "CMYK"), ("WEBP", "RGB"), ("JPEG", "L")):
        files.append(encoded(photo.convert(mode), kind))
    files.append(good)
    found, wanted = decoder.decode(files), references[0].decode(files)
    assert found.rows == wanted.rows
    assert {at: str(error) for at, error in found.refused.items()} == {
        at: str(error) for at, error in wanted.refused.items()
    }
    assert levels_apart(found.pixels, wanted.pixels).max() < 4
    assert torch.equal(found.pixels[0], found.pixels[-1])
    again = decoder.decode([good])
    assert again.decoders == (decoder.name,), "a failed batch does not end the use of DALI"
