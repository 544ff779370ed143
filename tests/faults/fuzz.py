"""Mutated photos through the decoders, in a process of its own: ``python -m tests.faults.fuzz SEED COUNT``.

Prints one JSON line: files, refusals, and the longest time that one took.
"""

from __future__ import annotations

import faulthandler
import json
import random
import sys
import time

import torch

from lowrank_demo.decode.choose import choose_decoder
from lowrank_demo.decode.pillow import PillowDecoder
from lowrank_demo.settings import Settings
from tests.helpers.photos import encoded, open_photo

HANG_SECONDS = 5


def mutated(data: bytes, randomness: random.Random) -> bytes:
    """Bits flipped, bytes replaced, stretches removed, doubled or moved."""
    changed = bytearray(data)
    for _ in range(randomness.choice((1, 1, 2, 4, 16))):
        at = randomness.randrange(len(changed))
        length = randomness.choice((1, 2, 8, 200))
        match randomness.randrange(5):
            case 0:
                changed[at] ^= 1 << randomness.randrange(8)
            case 1:
                changed[at : at + length] = randomness.randbytes(length)
            case 2 if len(changed) > 400:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case _:
                # Headers are short, and most of what can go wrong is in them.
                changed[randomness.randrange(min(600, len(changed)))] = randomness.choice((0, 1, 127, 128, 254, 255))
    return bytes(changed)


def main(seed: int, count: int) -> None:
    randomness = random.Random(seed)
    photo = open_photo("cheetah.jpg").resize((300, 260))
    seeds = [
        encoded(photo, "JPEG", quality=80),
        encoded(photo, "JPEG", progressive=True),
        encoded(photo.convert("L"), "JPEG"),
        encoded(photo.resize((90, 80)), "PNG"),
        encoded(photo.resize((90, 80)).quantize(), "PNG"),
    ]
    settings = Settings.from_environment()
    decoders = [choose_decoder(settings, torch.device("cpu")).decoder, PillowDecoder(64_000_000)]
    refused, slowest = 0, 0.0
    for i in range(count):
        data = mutated(seeds[i % len(seeds)], randomness)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        began = time.perf_counter()
        decoded = decoders[i // len(seeds) % 2].decode([data])
        slowest = max(slowest, time.perf_counter() - began)
        refused += len(decoded.refused)
        assert len(decoded.rows) + len(decoded.refused) == 1
        assert decoded.pixels.isfinite().all()
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps({"files": count, "refused": refused, "slowest": slowest}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
