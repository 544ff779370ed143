"""Measures the peak memory of a validation, in a separate process (``python -m tests.bench.memory``)."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lowrank_demo.models.zoo import Zoo, read_zoo
from lowrank_demo.runtime.progress import Progress
from lowrank_demo.settings import Settings
from tests.bench.measure import Outcome, Result
from tests.bench.networks import Passes


def memory(zoo: Zoo, file: Path, few: int, many: int) -> Iterator[Outcome]:
    """Measure the peak memory of a validation of the nine published models, after a few images and at the end.

    The first may be 1.5 GB beside the weights; the second, 5 % more than the first.

    Args:
        zoo: The models.
        file: The LMDB file.
        few: Images after which the memory is read first.
        many: Images in all.
    """
    weights = sum(card.cost.fp32_bytes for card in zoo if card.published) / 1e9
    small, large = _peaks(file, few, many)
    against = f"1.5 GB and {weights:.2f} GB of weights"
    yield Result(f"peak memory, nine models, {few:,} images", small, 1.5 + weights, "GB", against, 1.0)
    yield Result(f"peak memory, nine models, {many:,} images", large, small, "GB", f"{few:,} images", 1.05)


def _peaks(file: Path, few: int, many: int) -> tuple[float, float]:
    """Return the peak memory of a validation so far, after a few images and after all, in gigabytes."""
    command = [sys.executable, "-m", "tests.bench.memory", str(file), str(few), str(many)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    small, large = map(float, done.stdout.split())
    return small, large


def _main(file: str, few: str, many: str) -> None:
    from lowrank_demo.data.lmdb.isolated import IsolatedReader
    from lowrank_demo.runtime.allocator import keep_freed_memory
    from tests.bench.material import published, random_classifier

    keep_freed_memory()  # as ``validate`` does
    cards = published(read_zoo(Settings.from_environment().zoo))
    peaks: list[float] = []

    def look(progress: Progress) -> None:
        if progress.done >= int(few) and not peaks:
            peaks.append(_peak_of_this_process())

    # As in a real validation, another process maps the file, so its pages are not counted here.
    with IsolatedReader(Path(file)) as reader:
        models = [(card.id, random_classifier(card)) for card in cards]
        Passes.by().over(reader, models, int(many), look)
    print(*peaks, _peak_of_this_process())


def _peak_of_this_process() -> float:
    """Return this process's peak memory in gigabytes.

    Linux lets a process inherit ``ru_maxrss`` from the one that started it, so ``/proc`` is asked first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


if __name__ == "__main__":
    _main(*sys.argv[1:])
