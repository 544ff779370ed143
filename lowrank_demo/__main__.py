"""``python -m lowrank_demo``."""

import sys

from .cli import main

sys.exit(main(program="python -m lowrank_demo"))
