"""Many visitors at once, each with photos of their own and some bad files: are the answers right, and theirs?"""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.client import ApiClient, Refused
from tests.helpers.photos import encoded, open_photo

KINDS = ("lion.jpg", "cheetah.jpg", "tower.jpg")
BAD = (b"", b"<svg/>", b"\xff\xd8\xff\xe0 no photo")
Signature = tuple[str, int]


@dataclass
class Load:
    """What came of it."""

    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def p95(self) -> float:
        """Seconds that 95 % of the answers took at most."""
        return sorted(self.seconds)[int(0.95 * len(self.seconds))]


def signature(answer: dict) -> Signature:
    """What tells one photo's answer from another's."""
    best = answer["top"][0]
    return best["name"], round(100 * best["probability"])


@functools.cache
def photos() -> list[bytes]:
    """Thirty photos whose answers differ."""
    whole = [open_photo(name) for name in KINDS]
    made: list[bytes] = []
    for i in range(30):
        photo = whole[i % len(whole)]
        edge = min(photo.size) - 4 * i
        made.append(encoded(photo.crop((i, i, edge, edge)).rotate(7 * i), "JPEG", quality=80))
    return made


@functools.cache
def known_answers(url: str) -> list[Signature]:
    """What this server says to each of the photos alone."""
    with ApiClient(url) as client:
        return [signature(client.classify(data)) for data in photos()]


def run(url: str, clients: int, seconds: float) -> Load:
    """Send so many visitors for so long."""
    own, known = photos(), known_answers(url)
    load, lock = Load(), threading.Lock()
    ends = time.monotonic() + seconds

    def visit(number: int) -> None:
        randomness = random.Random(number)
        with ApiClient(url) as client:
            while time.monotonic() < ends:
                bad = randomness.random() < 0.1
                index = randomness.randrange(len(own))
                began = time.monotonic()
                try:
                    answer = client.classify(randomness.choice(BAD) if bad else own[index])
                except Refused as refusal:
                    with lock:
                        load.refusals[str(refusal)] += 1
                    continue
                took = time.monotonic() - began
                with lock:
                    load.answers += 1
                    load.seconds.append(took)
                    if bad != ("error" in answer):
                        load.wrong.append(f"{'bad file' if bad else 'photo'}: {answer}")
                    elif not bad and not _close(signature(answer), known[index]):
                        load.wrong.append(f"photo {index}: {signature(answer)}, alone {known[index]}")

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load


def _close(found: Signature, alone: Signature) -> bool:
    # A photo's neighbours in a batch move the last bits of its answer.
    return found[0] == alone[0] and abs(found[1] - alone[1]) <= 1


def resident_mb(pid: int) -> float:
    """Megabytes of memory that a process holds now."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def open_files(pid: int) -> int:
    """Files, pipes and sockets that a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads_of(pid: int) -> int:
    """A process's threads."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def cpu_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def wait_for_rest(pid: int) -> None:
    """Wait until a server does nothing: it answers the page's first photo in the background; 60 s at most."""
    deadline = time.monotonic() + 60
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(1)
        used, before = cpu_seconds(pid) - before, cpu_seconds(pid)
        if used < 0.1:
            return
