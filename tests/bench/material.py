"""What the measurements work on: real photos as JPEGs of shortest edge 256, and networks with random weights."""

from __future__ import annotations

import importlib.util
import io
import random
from pathlib import Path

import torch
from PIL import Image

from lowrank_demo.classify.inference import Classifier
from lowrank_demo.data.lmdb.reader import LmdbReader
from lowrank_demo.data.lmdb.record import Record
from lowrank_demo.data.lmdb.writer import LmdbWriter
from lowrank_demo.errors import DataError
from lowrank_demo.models.cards import ModelCard
from lowrank_demo.models.zoo import Zoo
from lowrank_demo.nn.alexnet import LowRankAlexNet
from lowrank_demo.settings import Arithmetic
from tests.helpers.paths import SHARED_LMDB
from tests.helpers.photos import encoded

_PHOTOS = ("lion.jpg", "cheetah.jpg", "cheetah1.jpg", "tower.jpg")
CPU = torch.device("cpu")


def jpegs(count: int, edge: int = 256) -> list[bytes]:
    """Distinct crops of the photos that the gradio package ships, as JPEGs with this shortest edge.

    Raises:
        DataError: The photos are not there.
    """
    found = importlib.util.find_spec("gradio")
    folder = Path(found.origin).parent / "media_assets" / "images" if found and found.origin else Path()
    photos = [Image.open(folder / name).convert("RGB") for name in _PHOTOS if (folder / name).is_file()]
    if not photos:
        raise DataError(f"No photo was found in {folder}; expected those of the gradio package.")
    randomness = random.Random(0)
    made: list[bytes] = []
    for i in range(count):
        photo = photos[i % len(photos)]
        share = randomness.uniform(0.6, 1.0)
        width, height = int(photo.width * share), int(photo.height * share)
        left, top = randomness.randint(0, photo.width - width), randomness.randint(0, photo.height - height)
        crop = photo.crop((left, top, left + width, top + height))
        scale = edge / min(crop.size)
        crop = crop.resize((max(edge, round(width * scale)), max(edge, round(height * scale))))
        made.append(encoded(crop, "JPEG", quality=92))
    return made


def real_records(count: int) -> list[Record]:
    """Return up to 400 labelled photos; without the file of them, crops of a few photos with invented labels."""
    if not SHARED_LMDB.exists():
        return [Record(image, i) for i, image in enumerate(jpegs(count))]
    with LmdbReader(SHARED_LMDB) as reader:
        return [reader[i] for i in range(0, len(reader), max(1, len(reader) // count))][:count]


def enlarged(image: bytes, edge: int) -> bytes:
    """Return a photo as a JPEG with this shortest edge, as cameras' photos are larger than what networks see."""
    photo = Image.open(io.BytesIO(image)).convert("RGB")
    scale = edge / min(photo.size)
    return encoded(photo.resize((round(photo.width * scale), round(photo.height * scale))), "JPEG", quality=92)


def write_records(path: Path, records: list[Record], count: int) -> None:
    """Write a file of ``count`` records that goes round the given ones."""
    with LmdbWriter(path) as writer:
        for i in range(count):
            writer.put(records[i % len(records)])


def write_lmdb(path: Path, images: list[bytes], count: int) -> None:
    """A file of ``count`` records that goes round the images."""
    write_records(path, [Record(images[i % len(images)], i % 1000) for i in range(count)], count)


def published(zoo: Zoo) -> list[ModelCard]:
    """The nine models of the paper."""
    return [card for card in zoo if card.published]


def random_classifier(card: ModelCard, arithmetic: Arithmetic = Arithmetic()) -> Classifier:
    """The card's network with random weights, on the CPU: as fast as the trained one."""
    return Classifier(LowRankAlexNet(card.scheme, card.ranks), CPU, arithmetic)
