"""The app as ``make demo`` and a Hugging Face Space start it; ``python -m lowrank_demo app`` does the same."""

import sys

from lowrank_demo.cli import main

if __name__ == "__main__":
    sys.exit(main(["app"]))
