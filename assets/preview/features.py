"""Keep what the convolutions of stack.py compute for every training photo, so that the heads train 50 times as fast.

    python assets/preview/features.py teach.toml

Writes features.npy in the run's folder: float16 [views, photos, 9216] of the crops to which ``train teach`` has the
teacher's answers. If stopped, it continues where it was. Needs 18 kB of disk for each photo, and OpenVINO.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from by_openvino import ByOpenVino
from stack import FEATURES, Stack

from lowrank_demo.train.config import read_config
from lowrank_demo.train.teach import keep_outputs

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Keep what the convolutions compute.")
    parser.add_argument("config", type=Path, metavar="RUN.TOML")
    config = read_config(parser.parse_args().config)
    print(keep_outputs(ByOpenVino(Stack()), FEATURES, config, "features.npy", True, torch.device("cpu")))
