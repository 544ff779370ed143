"""Classifies files one after another in a process of its own; each is followed by a photo that must come out right.

``python -m tests.faults.worker GOOD NAMES``, where NAMES is a file with one name on each line. Prints one JSON line for
each: answer or refusal, seconds, growth of peak memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from lowrank_demo.errors import ImageError
from lowrank_demo.serve.answers import Photo
from lowrank_demo.serve.service import Service
from lowrank_demo.settings import Settings


def main() -> None:
    service = Service(Settings.from_environment())
    model = service.default_model()
    good = Path(sys.argv[1])

    def label(path: Path) -> str:
        (answer,) = service.classify([Photo.from_file(path)], model)
        return str(answer) if isinstance(answer, ImageError) else answer.top[0].label.synset

    wanted = label(good)
    print(json.dumps({"good": wanted}), flush=True)
    for line in Path(sys.argv[2]).read_text().splitlines():
        path = Path(line)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        (answer,) = service.classify([Photo.from_file(path)], model)
        seconds = time.perf_counter() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        refused = isinstance(answer, ImageError)
        said = str(answer) if refused else [guess.label.synset for guess in answer.top]
        print(
            json.dumps(
                {"refused": refused, "said": said, "seconds": seconds, "grown_mb": grown, "next": label(good) == wanted}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
